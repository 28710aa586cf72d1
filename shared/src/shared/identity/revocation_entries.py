"""What ends tokens before their time: the entries of a revocation feed, and the page that a feed answers with.

auth-service (token, session, user) and users-service (membership, tenant) serve `GET /internal/revocations?after=`. An
entry is compared with a token by an id, an epoch or a version, never by times: two services have two clocks, and a
token's `iat` has whole seconds. So a token that was signed after a change is valid everywhere at once, also where the
change is not known yet, and one from before it is ended everywhere, however late it was signed.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from shared.field_errors import FieldRule
from shared.identity.access_tokens import LONGEST_TTL_S
from shared.identity.principal import LATEST, Principal
from shared.problems import InvalidInput

FEED_CURSOR: Final = FieldRule("cursor", "Must be a cursor of this feed.")

OVERLAP_S: Final = 30  # rows commit out of order, by less than this: statements and idling time out after 15 s
PROJECTION_LAG_S: Final = 60  # how old auth-service's view of a membership may be when it signs a token by it

HOLD_S: Final = 5.0  # how long a feed holds a request while nothing changes
MARK_CHARS: Final = 64

KEPT_S: Final = LONGEST_TTL_S + PROJECTION_LAG_S + OVERLAP_S
"""How long after the change an entry must stay: then every token that it ends has expired by itself."""

Key = tuple[str, object, object]
Version = Annotated[StrictInt, Field(ge=0, lt=LATEST)]


class _Entry(BaseModel):
    """`expires_at`, epoch seconds: when everything that the entry ends has expired anyway."""

    model_config = ConfigDict(frozen=True)

    expires_at: Annotated[StrictInt, Field(ge=0, lt=LATEST, examples=[1767605400])]


class TokenEnded(_Entry):
    """One access token (`jti`) was revoked."""

    kind: Literal["token"] = "token"
    id: Annotated[str, Field(min_length=1, examples=["q3mZ0w…"])]

    @property
    def key(self) -> Key:
        return ("token", self.id, None)

    def ends(self, principal: Principal) -> bool:
        return principal.token_id == self.id


class SessionEnded(_Entry):
    """A sign-in (`sid`) has ended, by logout or by reuse of its refresh token."""

    kind: Literal["session"] = "session"
    id: UUID

    @property
    def key(self) -> Key:
        return ("session", self.id, None)

    def ends(self, principal: Principal) -> bool:
        return principal.session_id == self.id


class UserEpoch(_Entry):
    """A person's tokens with an earlier epoch have ended: logout everywhere, a new password, a deactivated account."""

    kind: Literal["user"] = "user"
    id: UUID
    epoch: Annotated[StrictInt, Field(ge=0)]

    @property
    def key(self) -> Key:
        return ("user", self.id, None)

    def ends(self, principal: Principal) -> bool:
        return principal.user_id == self.id and principal.user_epoch < self.epoch


class MembershipState(_Entry):
    """A person's membership in a tenant as it is now; tokens of an earlier version have ended.

    `roles` is null if the membership has ended, so that open connections can say so.
    """

    kind: Literal["membership"] = "membership"
    tenant_id: UUID
    user_id: UUID
    roles: frozenset[str] | None = Field(examples=[["user"]])
    version: Version | None = None

    @property
    def key(self) -> Key:
        return ("membership", self.tenant_id, self.user_id)

    def ends(self, principal: Principal) -> bool:
        if (principal.tenant_id, principal.user_id) != (self.tenant_id, self.user_id):
            return False
        if self.version is None or principal.membership_version is None:  # one of the two is of an earlier release
            return principal.roles != self.roles
        return principal.membership_version < self.version


class TenantState(_Entry):
    """Whether a tenant is suspended; while it is, its tokens of an earlier version have ended: all that there are.

    Later versions are of tokens that were signed after it was resumed.
    """

    kind: Literal["tenant"] = "tenant"
    id: UUID
    suspended: StrictBool
    version: Version | None = None

    @property
    def key(self) -> Key:
        return ("tenant", self.id, None)

    def ends(self, principal: Principal) -> bool:
        if principal.tenant_id != self.id or not self.suspended:
            return False
        if self.version is None or principal.tenant_version is None:  # one of the two is of an earlier release
            return True
        return principal.tenant_version < self.version


Entry = Annotated[TokenEnded | SessionEnded | UserEpoch | MembershipState | TenantState, Field(discriminator="kind")]


def keys_of(principal: Principal) -> tuple[Key, ...]:
    """Where an entry that ends this person's token would stand."""
    return (
        ("token", principal.token_id, None),
        ("session", principal.session_id, None),
        ("user", principal.user_id, None),
        ("membership", principal.tenant_id, principal.user_id),
        ("tenant", principal.tenant_id, None),
    )


class FeedPage(BaseModel):
    """A feed's response: at most one entry per key, in one snapshot; `next` is the `after` of the next request.

    `mark` is that request's `seen`; None from an earlier release, which answers each request at once.
    """

    entries: list[Entry]
    next: Annotated[str, Field(min_length=1, max_length=32, examples=["1767605400000000"])]
    mark: Annotated[str, Field(min_length=1, max_length=MARK_CHARS)] | None = Field(default=None, examples=["9f2c…-7"])

    def marked(self, mark: str) -> "FeedPage":
        """The same page with the mark that was taken before it was read."""
        return self.model_copy(update={"mark": mark})


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def feed_page(entries: Iterable[Entry], now: datetime) -> FeedPage:
    """The answer made of the rows that changed since `read_from(after)`.

    `now` is the database's clock as the reading transaction began (`SELECT now()` in it): a clock read later would skip
    what committed in between, another machine's clock could skip more than the overlap covers.
    """
    return FeedPage(entries=list(entries), next=str((now - _EPOCH) // _MICROSECOND))


def read_from(after: str | None) -> datetime | None:
    """The time from which a feed reads its rows: the cursor's, 30 s back. None: all that has not expired.

    Raises InvalidInput for an invalid cursor.
    """
    if after is None:
        return None
    if not (after.isascii() and after.isdecimal() and len(after) <= 17):  # 17 digits end in the year 5138
        raise InvalidInput(errors=[FEED_CURSOR.at(parameter="after")])
    return _EPOCH + int(after) * _MICROSECOND - timedelta(seconds=OVERLAP_S)
