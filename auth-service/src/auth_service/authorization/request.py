"""An authorization request, read from its query in the order that keeps it safe.

First the client and its redirect URI: until both are known to be right, no browser is sent anywhere. Any other error is
reported to the redirect URI (RFC 6749, section 4.1.2.1), once the person is signed in.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

from auth_service.clients.models import Client
from auth_service.clients.redirect_uris import is_redirect_uri
from auth_service.oauth_errors import Error
from shared.problems import Problem

MAX_QUERY_BYTES: Final = 8192
_MAX_PARAMETERS: Final = 40
_REPEATABLE: Final = "resource"  # RFC 8707, section 2
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # base64url of SHA-256 (RFC 7636, section 4.2)
_JKT: Final = _CHALLENGE
_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
_PRINTABLE: Final = re.compile(r"[ -~]*")


class RequestUnusable(Problem):
    """The client is unknown, or the redirect URI is not one of its own, so the browser is sent nowhere."""

    status, title = 400, "This sign-in link is not valid"
    remedy = (
        "Open the application again. If that does not help, ask its developers to check client_id and redirect_uri."
    )


@dataclass(frozen=True, slots=True)
class ReturnAddress:
    """Where the answer to a request goes. A `silent` request (`prompt=none`) is answered without any page."""

    client: Client
    redirect_uri: str
    state: str | None
    silent: bool


class AuthorizationRefused(Exception):
    """The answer is an error at the client's redirect URI."""

    def __init__(self, error: Error, description: str, to: ReturnAddress) -> None:
        super().__init__(description)
        self.error, self.description, self.to = error, description, to

    def url(self, issuer: str) -> str:
        """The redirect URI with the error."""
        to = self.to
        return response_url(to.redirect_uri, issuer, to.state, error=self.error, error_description=self.description)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A valid request. `scopes` are those of the client that it asks for; `max_age_s` is None if any age will do."""

    client: Client
    redirect_uri: str
    scopes: frozenset[str]
    code_challenge: str
    state: str | None = None
    nonce: str | None = None
    prompts: frozenset[str] = frozenset()
    max_age_s: int | None = None
    acr_values: tuple[str, ...] = ()
    audience: str | None = None
    tenant: str | None = None
    login_hint: str | None = None
    ui_locales: str | None = None
    dpop_jkt: str | None = None

    def refusal(self, error: Error, description: str) -> AuthorizationRefused:
        to = ReturnAddress(self.client, self.redirect_uri, self.state, silent="none" in self.prompts)
        return AuthorizationRefused(error, description, to)


def parameters(query: str) -> tuple[dict[str, str], list[str]]:
    """The parameters of a query, and the names of those that were repeated. Raises RequestUnusable."""
    if len(query) > MAX_QUERY_BYTES:
        raise RequestUnusable("The request is too long; push it (RFC 9126).")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise RequestUnusable("The request cannot be read.") from None
    found: dict[str, str] = {}
    repeated = []
    for name, value in pairs:
        if name in found:
            repeated.append(name)
            found[name] = f"{found[name]} {value}" if name == _REPEATABLE else found[name]
        elif value:  # an empty parameter counts as omitted (RFC 6749, section 3.1)
            found[name] = value
    return found, [name for name in repeated if name != _REPEATABLE]


def client_id_of(found: Mapping[str, str]) -> UUID:
    """The client that the request names. Raises RequestUnusable."""
    try:
        value = UUID(found.get("client_id", ""))
    except ValueError:
        raise RequestUnusable("The request names no known client (client_id).") from None
    if str(value) != found["client_id"]:
        raise RequestUnusable("The request names no known client (client_id).")
    return value


def redirect_uri_of(client: Client, found: Mapping[str, str], repeated: Sequence[str]) -> str:
    """The redirect URI of the request. Raises RequestUnusable unless it is one of the client's."""
    uri = found.get("redirect_uri")
    if uri is None or {"redirect_uri", "client_id"} & set(repeated) or not is_redirect_uri(uri, client.redirect_uris):
        raise RequestUnusable("The redirect_uri is not one that the client has registered.")
    return uri


def checked(client: Client, found: Mapping[str, str], repeated: Sequence[str], public_url: str) -> AuthorizationRequest:
    """The request of `client`. Raises RequestUnusable, AuthorizationRefused."""
    redirect_uri = redirect_uri_of(client, found, repeated)
    state = found.get("state") if _PRINTABLE.fullmatch(found.get("state", "")) else None
    problem = _problem(client, found, repeated, public_url)
    if problem is not None:
        to = ReturnAddress(client, redirect_uri, state, silent=found.get("prompt") == "none")
        raise AuthorizationRefused(*problem, to)
    return AuthorizationRequest(
        client=client,
        redirect_uri=redirect_uri,
        scopes=frozenset(found.get("scope", " ".join(client.scopes)).split()).intersection(client.scopes),
        code_challenge=found["code_challenge"],
        state=state,
        nonce=found.get("nonce"),
        prompts=frozenset(found.get("prompt", "").split()),
        max_age_s=int(found["max_age"]) if "max_age" in found else None,
        acr_values=tuple(found.get("acr_values", "").split()),
        audience=audience(found.get("resource"), public_url),
        tenant=found.get("tenant"),
        login_hint=found.get("login_hint"),
        ui_locales=found.get("ui_locales"),
        dpop_jkt=found.get("dpop_jkt"),
    )


def after_sign_in(query: str) -> str:
    """The request to continue with after a sign-in, which it no longer asks for. An invalid request stays the same."""
    try:
        found, repeated = parameters(query)
    except RequestUnusable:
        return query
    if repeated or _openid_problem(found) is not None:
        return query
    left = " ".join(one for one in found.get("prompt", "").split() if one not in ("login", "select_account"))
    pairs = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name not in ("prompt", "max_age")]
    return urlencode([*kept, *([("prompt", left)] if left else [])])


def is_allowed_resource(client: Client, resource: str, public_url: str) -> bool:
    """Whether the client's tokens may be for `resource` (RFC 8707): this API, a path of it, or one of the client's."""
    return resource == public_url or resource.startswith(f"{public_url}/") or resource in client.resources


def audience(resource: str | None, public_url: str) -> str | None:
    """The audience of tokens for `resource`; None for this API's own."""
    return None if resource is None or resource == public_url or resource == f"{public_url}/" else resource


def response_url(redirect_uri: str, issuer: str, state: str | None, **answer: str) -> str:
    """The redirect URI with the answer, `state` and `iss` (RFC 9207) added to its query."""
    pairs = {**answer, **({} if state is None else {"state": state}), "iss": issuer}
    separator = "&" if urlsplit(redirect_uri).query else "?"
    return f"{redirect_uri}{separator}{urlencode(pairs)}"


def _problem(
    client: Client, found: Mapping[str, str], repeated: Sequence[str], public_url: str
) -> tuple[Error, str] | None:
    """The first error that is reported to the client."""
    if repeated:
        return "invalid_request", f"The parameter {repeated[0][:40]} is repeated."
    if not all(_PRINTABLE.fullmatch(found.get(name, "")) for name in ("state", "nonce")):
        return "invalid_request", "state and nonce must be printable ASCII."
    if found.get("response_type") != "code":
        return "unsupported_response_type", "response_type must be code."
    if "authorization_code" not in client.grant_types:
        return "unauthorized_client", "The client is not registered for the authorization code grant."
    if "request" in found:
        return "request_not_supported", "Request objects are not supported; push the request (RFC 9126)."
    if found.get("response_mode", "query") != "query":
        return "invalid_request", "response_mode must be query."
    return _pkce_problem(found) or _openid_problem(found) or _target_problem(client, found, public_url)


def _pkce_problem(found: Mapping[str, str]) -> tuple[Error, str] | None:
    if found.get("code_challenge_method") != "S256":
        return "invalid_request", "PKCE is required: code_challenge_method must be S256 (RFC 7636)."
    if _CHALLENGE.fullmatch(found.get("code_challenge", "")) is None:
        return "invalid_request", "code_challenge must be the base64url SHA-256 of the verifier, 43 characters."
    return None


def _openid_problem(found: Mapping[str, str]) -> tuple[Error, str] | None:
    prompts = set(found.get("prompt", "").split())
    if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
        return "invalid_request", "prompt must be none, or any of login, consent and select_account."
    if not re.fullmatch(r"[0-9]{1,9}", found.get("max_age", "0")):
        return "invalid_request", "max_age must be a number of seconds."
    return None


def _target_problem(client: Client, found: Mapping[str, str], public_url: str) -> tuple[Error, str] | None:
    scopes = set(found.get("scope", " ".join(client.scopes)).split()).intersection(client.scopes)
    if not scopes:
        return "invalid_scope", "None of the scopes is one that the client is registered for."
    resource = found.get("resource")
    if resource is not None and not is_allowed_resource(client, resource, public_url):
        return "invalid_target", "The client's tokens cannot be for this resource, or for several at once."
    if "dpop_jkt" in found and _JKT.fullmatch(found["dpop_jkt"]) is None:
        return "invalid_request", "dpop_jkt must be a JWK thumbprint (RFC 9449, section 10)."
    return None
