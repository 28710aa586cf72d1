"""What one line of the route table may say, validated as a whole before any of it is used."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared.settings import ServiceName

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

Scope = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(:[a-z]+)?$")]
Path = Annotated[str, Field(pattern=r"^(/([A-Za-z0-9._~-]+|\{[a-z_]+\}))+$", max_length=200)]

UNREACHABLE: Final = ("/internal", "/livez", "/readyz", "/health", "/metrics", "/config")
"""Paths of a service that are for the fleet alone; no table may open them."""


class Strict(BaseModel):
    """A misspelt key is an error: what a table does not say is denied, so a typo must not pass in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Access(Strict):
    """What a caller needs for one method of one route.

    `public`: a caller without a token is let in, and none is looked at. `fresh`: refused with 503 while the revocation
    feeds are stale. `exempt`: does not count against the caller's limit.
    """

    public: bool = False
    all_of: frozenset[Scope] = frozenset()
    any_of: frozenset[Scope] = frozenset()
    fresh: bool = False
    exempt: bool = False

    @model_validator(mode="after")
    def _public_asks_for_nothing(self) -> "Access":
        if self.public and (self.all_of or self.any_of or self.fresh):
            raise ValueError("a public method can ask for no scope and no fresh revocations")
        return self


def _access(written: Any) -> Any:
    """`public`, `signed_in` and a bare list of scopes (all of them) are short for the whole form."""
    if written == "public":
        return {"public": True}
    if written == "signed_in":
        return {}
    return {"all_of": written} if isinstance(written, list) else written


class Route(Strict):
    """One path of an upstream. `{name}` stands for one segment.

    Without `exact` everything beneath the path belongs to the route too. `timeout_s` bounds the whole exchange, from
    the request's first byte to the answer's last; a `streaming` route has no end but its client's, its session's or
    its token's. `websocket` is the subprotocol that a client must speak. `tickets`: GET takes `?ticket=` in place of a
    bearer token.
    """

    path: Path
    upstream: ServiceName
    methods: Mapping[Method, Annotated[Access, BeforeValidator(_access)]] = Field(min_length=1)
    exact: bool = False
    timeout_s: float = Field(default=30, gt=0, le=3600)
    max_body: ByteSize = ByteSize(1024 * 1024)
    streaming: bool = False
    websocket: str | None = None
    tickets: bool = False

    @field_validator("upstream")
    @classmethod
    def _has_a_url(cls, upstream: str, info: ValidationInfo) -> str:
        known = info.context
        if known is not None and upstream not in known:
            raise ValueError(f"{upstream} has no URL (SERVICES__{upstream.upper()}); known: {', '.join(sorted(known))}")
        return upstream

    @field_validator("path")
    @classmethod
    def _may_be_reached(cls, path: str) -> str:
        if any(path == closed or path.startswith(f"{closed}/") for closed in UNREACHABLE):
            raise ValueError(f"{path} is for the fleet alone")
        if any(segment in (".", "..") for segment in path.split("/")):
            raise ValueError(f"{path} has a dot segment")
        return path

    @model_validator(mode="after")
    def _streams_are_read(self) -> "Route":
        if (self.streaming or self.websocket or self.tickets) and "GET" not in self.methods:
            raise ValueError(f"{self.path}: streaming, websocket and tickets need GET")
        return self


class Table(Strict):
    """Every route of the fleet; the order in the file has no meaning."""

    routes: tuple[Route, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _paths_differ(self) -> "Table":
        seen: dict[tuple[str, ...], str] = {}
        for route in self.routes:
            shape = tuple("{}" if segment.startswith("{") else segment for segment in route.path.split("/"))
            if (other := seen.setdefault(shape, route.path)) is not route.path:
                raise ValueError(f"{route.path} and {other} are the same path")
        return self
