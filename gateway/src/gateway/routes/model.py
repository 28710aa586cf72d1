"""The model of the route table, validated as a whole before any of it is used."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared.identity.scopes import ALL_SCOPES
from shared.settings import ServiceName

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _known_scope(scope: str) -> str:
    if scope not in ALL_SCOPES:
        raise ValueError(f"{scope} is not a scope of the fleet")
    return scope


Scope = Annotated[str, AfterValidator(_known_scope)]
Path = Annotated[str, Field(pattern=r"^(/([A-Za-z0-9._~-]+|\{[a-z_]+\}))+$", max_length=200)]

UNREACHABLE: Final = ("/internal", "/livez", "/readyz", "/health", "/metrics", "/config")
"""Internal paths of a service; no table may expose them."""

_OF_ACCOUNTS: Final = ("/auth/", "/oauth2/")


class Strict(BaseModel):
    """Unknown keys are errors: a misspelled key would otherwise silently change what is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Access(Strict):
    """The access rule for one method of one route.

    `public`: no token is required, and none is verified. `fresh`: 503 while the revocation feeds are stale. `exempt`:
    does not count against the caller's limit.
    """

    public: bool = False
    all_of: frozenset[Scope] = frozenset()
    any_of: frozenset[Scope] = frozenset()
    fresh: bool = False
    exempt: bool = False

    @model_validator(mode="after")
    def _public_requires_nothing(self) -> "Access":
        if self.public and (self.all_of or self.any_of or self.fresh):
            raise ValueError("a public method cannot require scopes or fresh revocations")
        return self


def _expanded(rule: Any) -> Any:
    """Expand the short forms: `public`, `signed_in`, and a list of scopes, all of which are required."""
    if rule == "public":
        return {"public": True}
    if rule == "signed_in":
        return {}
    return {"all_of": rule} if isinstance(rule, list) else rule


class Route(Strict):
    """One path of an upstream. `{name}` matches one segment.

    Without `exact` deeper paths belong to the route too. `timeout_s` limits the whole exchange, from the request's
    first byte to the response's last; a `streaming` route has no time-out and ends with its client, session,
    membership, tenant or token. `websocket` is the subprotocol that a client must offer. `tickets`: GET accepts
    `?ticket=` instead of a bearer token. `api_keys`: whether the caller may come by `X-API-Key` instead; unless the
    route says so, not under /auth and /oauth2. `client_address`: the service gets the client's address, signed.
    `client_credentials`: so does HTTP Basic authentication, by which an OAuth client authenticates to auth-service.
    `no_impersonation`: an operator who acts as a person is refused; unless the route says so, under /auth and /oauth2.
    `pages`: a browser is sent there, and no script of another origin may read the answers (RFC 9700, section 2.6).
    """

    path: Path
    upstream: ServiceName
    methods: Mapping[Method, Annotated[Access, BeforeValidator(_expanded)]] = Field(min_length=1)
    exact: bool = False
    timeout_s: float = Field(default=30, gt=0, le=3600)
    max_body: ByteSize = ByteSize(1024 * 1024)
    streaming: bool = False
    websocket: str | None = None
    tickets: bool = False
    api_keys: bool | None = None
    client_address: bool = False
    client_credentials: bool = False
    no_impersonation: bool | None = None
    pages: bool = False

    @field_validator("upstream")
    @classmethod
    def _has_a_url(cls, upstream: str, info: ValidationInfo) -> str:
        known = info.context
        if known is not None and upstream not in known:
            raise ValueError(f"{upstream} has no URL (SERVICES__{upstream.upper()}); known: {', '.join(sorted(known))}")
        return upstream

    @field_validator("path")
    @classmethod
    def _is_public(cls, path: str) -> str:
        if any(path == closed or path.startswith(f"{closed}/") for closed in UNREACHABLE):
            raise ValueError(f"{path} is internal and cannot be exposed")
        if any(segment in (".", "..") for segment in path.split("/")):
            raise ValueError(f"{path} has a dot segment")
        return path

    @model_validator(mode="after")
    def _streams_have_get(self) -> "Route":
        if (self.streaming or self.websocket or self.tickets) and "GET" not in self.methods:
            raise ValueError(f"{self.path}: streaming, websocket and tickets require GET")
        return self

    @model_validator(mode="after")
    def _refusing_needs_a_caller(self) -> "Route":
        if self.no_impersonation and all(access.public for access in self.methods.values()):
            raise ValueError(f"{self.path}: no_impersonation needs a method that is not public: no token is verified")
        return self

    @property
    def takes_api_keys(self) -> bool:
        """A key must not manage its person's account, sessions, clients or keys."""
        return not self.path.startswith(_OF_ACCOUNTS) if self.api_keys is None else self.api_keys

    @property
    def refuses_impersonation(self) -> bool:
        """An operator who acts as a person must not manage the person's account, sessions, clients or keys."""
        return self.path.startswith(_OF_ACCOUNTS) if self.no_impersonation is None else self.no_impersonation


class Table(Strict):
    """Every route of the fleet; their order has no meaning."""

    routes: tuple[Route, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _paths_differ(self) -> "Table":
        seen: dict[tuple[str, ...], str] = {}
        for route in self.routes:
            shape = tuple("{}" if segment.startswith("{") else segment for segment in route.path.split("/"))
            if (other := seen.setdefault(shape, route.path)) is not route.path:
                raise ValueError(f"{route.path} and {other} are the same path")
        return self
