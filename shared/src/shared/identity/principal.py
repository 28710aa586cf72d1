"""Who makes a request: a person in a tenant, or a service speaking for itself. Pure; knows no keys and no framework."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from shared.problems import ImpersonationRefused, InvalidToken, NoTenant

Claims = Mapping[str, Any]

OWN_SIGN_IN: Final = "flotilla"
"""The `client_id` of a sign-in of our own; clients of the OAuth server have ids of their own."""

IMPERSONATION: Final = "impersonation"
"""The `kind` in the `act` of an operator who impersonates a person; no other actor has a kind."""

LATEST = 253402300800  # 10000-01-01 in epoch seconds: beyond it datetime cannot follow, so no honest token says so


@dataclass(frozen=True, slots=True)
class Principal:
    """A person acting in at most one tenant, as the token that was verified says.

    `expires_at` (epoch seconds) is the end of the access token that the person showed. An internal token ends earlier
    and carries it along, so that a socket opened with one lives as long as the person's own token. `actor` is the
    service that acts for the person (RFC 8693, `act`); None when the person's own request was forwarded.
    `impersonator` is the operator who acts as the person, whichever services forward it; None for the person.

    `membership_version` and `tenant_version` are of the rows that the token was signed by, so that the revocation feed
    ends exactly the tokens from before a change. None: signed by an earlier release, or for no tenant.

    `auth_time` (epoch seconds) is when the person last proved who they are, `amr` by which methods and `acr` at which
    level (RFC 9068, section 2.2.1). None and empty: the token does not say.
    """

    user_id: UUID
    username: str
    tenant_id: UUID | None
    tenant_slug: str | None
    roles: frozenset[str]
    scopes: frozenset[str]
    tier: str | None
    session_id: UUID | None
    client_id: str
    token_id: str
    user_epoch: int
    expires_at: int
    issuer: str
    actor: str | None = None
    impersonator: UUID | None = None
    membership_version: int | None = None
    tenant_version: int | None = None
    auth_time: int | None = None
    amr: frozenset[str] = frozenset()
    acr: str | None = None
    dpop_jkt: str | None = None
    """The thumbprint of the key whose possession a request must prove (RFC 9449, section 6.1); None: a bearer token."""

    @property
    def acting(self) -> str | None:
        """Who acts for the person, as logs name them: an operator's id, else a service; None for the person."""
        return self.actor if self.impersonator is None else str(self.impersonator)

    def to_claims(self) -> dict[str, Any]:
        """The claims about the person; the signer adds `iss`, `aud`, `iat`, `exp` and its own `act`."""
        claims = {
            "sub": str(self.user_id),
            "preferred_username": self.username,
            "tenant": None if self.tenant_id is None else str(self.tenant_id),
            "tenant_slug": self.tenant_slug,
            "roles": sorted(self.roles),
            "scope": " ".join(sorted(self.scopes)),
            "tier": self.tier,
            "sid": None if self.session_id is None else str(self.session_id),
            "client_id": self.client_id,
            "jti": self.token_id,
            "user_epoch": self.user_epoch,
            "membership_version": self.membership_version,
            "tenant_version": self.tenant_version,
            "auth_time": self.auth_time,
            "amr": sorted(self.amr) or None,
            "acr": self.acr,
            "person_exp": self.expires_at,
            "act": self._act(),
            "cnf": None if self.dpop_jkt is None else {"jkt": self.dpop_jkt},
        }
        return {name: value for name, value in claims.items() if value is not None}

    def _act(self) -> dict[str, Any] | None:
        """The service is the outermost actor: the request came by it, and to it by the operator."""
        act = None if self.impersonator is None else {"sub": str(self.impersonator), "kind": IMPERSONATION}
        if self.actor is None:
            return act
        return {"sub": self.actor} if act is None else {"sub": self.actor, "act": act}

    @classmethod
    def from_claims(cls, claims: Claims) -> "Principal":
        """The person that verified claims describe. InvalidToken for a claim that is missing or of a wrong type."""
        ends = claims.get("person_exp", claims.get("exp"))
        return cls(
            user_id=_uuid(claims, "sub"),
            username=_text(claims, "preferred_username"),
            tenant_id=_uuid_or_none(claims, "tenant"),
            tenant_slug=_text_or_none(claims, "tenant_slug"),
            roles=_names(claims, "roles"),
            scopes=frozenset(_text(claims, "scope", empty=True).split()),
            tier=_text_or_none(claims, "tier"),
            session_id=_uuid_or_none(claims, "sid"),
            client_id=_text(claims, "client_id"),
            token_id=_text(claims, "jti"),
            user_epoch=_whole(claims.get("user_epoch"), "user_epoch"),
            expires_at=_whole(ends, "exp"),
            issuer=_text(claims, "iss"),
            actor=actor_of(claims),
            impersonator=impersonator_of(claims),
            membership_version=_whole_or_none(claims, "membership_version"),
            tenant_version=_whole_or_none(claims, "tenant_version"),
            auth_time=_whole_or_none(claims, "auth_time"),
            amr=frozenset() if claims.get("amr") is None else _names(claims, "amr"),
            acr=_text_or_none(claims, "acr"),
            dpop_jkt=_jkt(claims),
        )


def check_not_impersonated(user: Principal) -> None:
    """Raises ImpersonationRefused for an operator who acts as the person."""
    if user.impersonator is not None:
        raise ImpersonationRefused


def tenant_of(user: Principal) -> UUID:
    """The tenant that the person acts in. Raises NoTenant for who acts in none."""
    if user.tenant_id is None:
        raise NoTenant
    return user.tenant_id


@dataclass(frozen=True, slots=True)
class ServiceCaller:
    """A service of the fleet that speaks for itself: no person, no tenant. `grants` are the trust file's."""

    name: str
    token_id: str
    expires_at: int
    grants: frozenset[str]

    @classmethod
    def from_claims(cls, claims: Claims, grants: frozenset[str]) -> "ServiceCaller":
        """The service that verified claims describe. Raises InvalidToken."""
        return cls(_text(claims, "sub"), _text(claims, "jti"), _whole(claims.get("exp"), "exp"), grants)


def lifetime_s(claims: Claims) -> int:
    """The token's lifetime in seconds. Raises InvalidToken for times that are not whole seconds."""
    return _whole(claims.get("exp"), "exp") - _whole(claims.get("iat"), "iat")


def actor_of(claims: Claims) -> str | None:
    """The service that acts for the person: the outermost `act.sub` (RFC 8693, section 4.1).

    None without `act`, and where the outermost actor is an operator who impersonates the person.
    """
    act = _act_of(claims)
    return None if act is None or act.get("kind") == IMPERSONATION else _text(act, "sub")


def impersonator_of(claims: Claims) -> UUID | None:
    """The operator who impersonates the person, behind all services that act for them; None if nobody does."""
    act = _act_of(claims)
    while act is not None and act.get("kind") != IMPERSONATION:
        act = _act_of(act)
    return None if act is None else _uuid(act, "sub")


def _act_of(claims: Claims) -> Claims | None:
    act = claims.get("act")
    if act is not None and not isinstance(act, Mapping):
        raise _malformed("act")
    return act


def _jkt(claims: Claims) -> str | None:
    cnf = claims.get("cnf")
    if cnf is None:
        return None
    if not isinstance(cnf, Mapping):  # bound in a way that this release cannot verify
        raise _malformed("cnf")
    return _text(cnf, "jkt")


def _malformed(name: str) -> InvalidToken:
    return InvalidToken(f"The token's claim `{name}` is missing or malformed.")


def _text(claims: Claims, name: str, *, empty: bool = False) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not (value or empty) or not _stores(value):
        raise _malformed(name)
    return value


def _stores(text: str) -> bool:
    """Whether PostgreSQL and UTF-8 can hold the text: no NUL, no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _text_or_none(claims: Claims, name: str) -> str | None:
    return None if claims.get(name) is None else _text(claims, name)


def _uuid(claims: Claims, name: str) -> UUID:
    text = _text(claims, name)
    try:
        value = UUID(text)
    except ValueError:
        raise _malformed(name) from None
    if str(value) != text:  # UUID() also reads braces, urn: and bare hex; one person has one spelling
        raise _malformed(name)
    return value


def _uuid_or_none(claims: Claims, name: str) -> UUID | None:
    return None if claims.get(name) is None else _uuid(claims, name)


def _names(claims: Claims, name: str) -> frozenset[str]:
    values = claims.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise _malformed(name)
    return frozenset(values)


def _whole(value: object, name: str) -> int:
    """A count or a time in whole seconds; True is an int to Python and none to us."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < LATEST:
        raise _malformed(name)
    return value


def _whole_or_none(claims: Claims, name: str) -> int | None:
    return None if claims.get(name) is None else _whole(claims[name], name)
