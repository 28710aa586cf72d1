"""The authorization code flow with an upstream issuer: the request, the code's exchange, the person's claims."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

from auth_service.identity_providers import id_tokens
from auth_service.identity_providers.issuers import Issuer, UpstreamFailed
from shared.email_addresses import new_address
from shared.outbound import Outbound, OutboundError, json_object

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_NAME: Final = 200
_FROM_USERINFO: Final = ("email", "email_verified", "preferred_username", "name", "nickname")


@dataclass(frozen=True, slots=True)
class ClientRegistration:
    """Our registration at an issuer; without a secret it is a public client."""

    client_id: str
    client_secret: str | None
    redirect_uri: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What binds one sign-in to the browser that began it: sent ahead as a hash, or expected in the answer."""

    nonce: str
    code_verifier: str


@dataclass(frozen=True, slots=True)
class UpstreamPerson:
    """A person as the issuer describes them; only `subject` identifies them."""

    subject: str
    email: str | None
    email_verified: bool
    username: str | None


def authorization_url(
    issuer: Issuer, client: ClientRegistration, *, state: str, nonce: str, code_challenge: str
) -> str:
    """Where the browser is sent to sign in (OpenID Connect Core 1.0, section 3.1.2.1; RFC 7636)."""
    endpoint = issuer.metadata.authorization_endpoint
    query = urlencode(
        {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": client.redirect_uri,
            "scope": " ".join(client.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256",
        }
    )
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}"


async def redeem(
    outbound: Outbound, issuer: Issuer, client: ClientRegistration, code: str, proof: Proof
) -> UpstreamPerson:
    """The person whom the issuer has signed in. Raises UpstreamFailed."""
    answer = await _tokens(outbound, issuer, client, code, proof.code_verifier)
    id_token, access_token = answer.get("id_token"), answer.get("access_token")
    if not isinstance(id_token, str):
        raise UpstreamFailed("The issuer answered without an ID token.")
    held = access_token if isinstance(access_token, str) else None
    claims = await id_tokens.verified(
        issuer, id_token, client_id=client.client_id, nonce=proof.nonce, access_token=held
    )
    if "email" not in claims and "email" in client.scopes and held is not None:
        claims |= await _userinfo(outbound, issuer, held, claims["sub"])
    return person_of(claims)


def person_of(claims: Mapping[str, Any]) -> UpstreamPerson:
    """An address that is not one counts as none; `email_verified` is the JSON value true and nothing like it."""
    email = claims.get("email")
    try:
        address = new_address(email) if isinstance(email, str) and len(email) <= 254 else None
    except ValueError:
        address = None
    names = (claims.get(name) for name in ("preferred_username", "nickname", "name"))
    username = next((name for name in names if isinstance(name, str) and 0 < len(name) <= _MOST_NAME), None)
    return UpstreamPerson(claims["sub"], address, claims.get("email_verified") is True, username)


async def _tokens(
    outbound: Outbound, issuer: Issuer, client: ClientRegistration, code: str, code_verifier: str
) -> dict[str, Any]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": code_verifier,
    }
    headers = {"Content-Type": _FORM, "Accept": "application/json"}
    if client.client_secret is None:
        form["client_id"] = client.client_id
    elif issuer.metadata.secret_in_body:
        form |= {"client_id": client.client_id, "client_secret": client.client_secret}
    else:  # RFC 6749, section 2.3.1: both are form-encoded first
        both = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
    try:
        answer = await outbound.send(
            "POST", issuer.metadata.token_endpoint, headers=headers, content=urlencode(form).encode()
        )
        if answer.status != 200:
            raise UpstreamFailed("The issuer refused the code.")
        return json_object(answer)
    except OutboundError as error:
        raise UpstreamFailed(f"The token endpoint gave no usable answer. {error}") from None


async def _userinfo(outbound: Outbound, issuer: Issuer, access_token: str, subject: str) -> dict[str, Any]:
    """The claims that are at userinfo only; of another subject they are refused (section 5.3.2)."""
    if issuer.metadata.userinfo_endpoint is None:
        return {}
    try:
        found = await outbound.json(
            issuer.metadata.userinfo_endpoint, headers={"Authorization": f"Bearer {access_token}"}
        )
    except OutboundError as error:
        raise UpstreamFailed(f"The userinfo endpoint gave no usable answer. {error}") from None
    if found.get("sub") != subject:
        raise UpstreamFailed("The userinfo endpoint describes another person.")
    return {name: found[name] for name in _FROM_USERINFO if name in found}
