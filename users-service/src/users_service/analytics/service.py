"""Counting: each figure is one statement over rows of the tenant."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Date, and_, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from shared.identity.principal import Principal, tenant_of
from users_service.activity.models import Activity
from users_service.analytics.schemas import (
    DEFAULT_DAYS,
    Analytics,
    BasicFigures,
    Dashboard,
    DayCount,
    DayFigures,
    DetailedFigures,
    FileCounts,
    Period,
    PersonFigures,
    SensitiveFigures,
    StoredType,
    TopAuthor,
    UserCounts,
)
from users_service.files.models import File
from users_service.moderation.models import Report
from users_service.posts.models import Post
from users_service.profiles import models as profiles
from users_service.tenants.models import count_members, new_members_by_day

_AUTHORS, _PEOPLE = 10, 100


async def analytics(db: AsyncSession, user: Principal, period: Period) -> Analytics:
    """The figures of the caller's tenant that their scopes show."""
    tenant_id = tenant_of(user)
    detailed = await _detailed(db, tenant_id, period) if "analytics:read" in user.scopes else None
    sensitive = await _sensitive(db, tenant_id) if "admin:read" in user.scopes else None
    return Analytics(basic=await _basic(db, tenant_id, period), detailed=detailed, sensitive=sensitive)


async def dashboard(db: AsyncSession, user: Principal) -> Dashboard:
    """What a tenant's admin sees first."""
    tenant_id = tenant_of(user)
    by_status = await count_members(db, tenant_id)
    today = datetime.now(UTC).date()
    period = Period(first=today - timedelta(days=DEFAULT_DAYS - 1), end=today + timedelta(days=1))
    news = await new_members_by_day(db, tenant_id, period.first)
    stored = select(func.count(), func.coalesce(func.sum(File.size_bytes), 0)).where(File.tenant_id == tenant_id)
    count, size = (await db.execute(stored)).one()
    return Dashboard(
        users=UserCounts(total=sum(by_status.values()), **by_status),
        posts=await _count(db, _published(tenant_id)),
        files=FileCounts(count=count, bytes=size),
        reports_open=await _count(db, and_(Report.tenant_id == tenant_id, Report.resolved_at.is_(None))),
        new_users_by_day=[DayCount(day=day, count=news.get(day, 0)) for day in _days(period)],
    )


async def _basic(db: AsyncSession, tenant_id: UUID, period: Period) -> BasicFigures:
    seen = select(func.count(Activity.user_id.distinct())).where(
        _of(Activity.tenant_id, tenant_id, Activity.created_at, period)
    )
    return BasicFigures(
        users=(await count_members(db, tenant_id))["active"],
        active_users=await db.scalar(seen) or 0,
        posts=await _count(db, and_(_published(tenant_id), _within(Post.published_at, period))),
        files=await _count(db, _of(File.tenant_id, tenant_id, File.created_at, period)),
    )


async def _detailed(db: AsyncSession, tenant_id: UUID, period: Period) -> DetailedFigures:
    posts = await _by_day(db, Post.published_at, and_(_published(tenant_id), _within(Post.published_at, period)))
    files = await _by_day(db, File.created_at, _of(File.tenant_id, tenant_id, File.created_at, period))
    seen = await _by_day(
        db,
        Activity.created_at,
        _of(Activity.tenant_id, tenant_id, Activity.created_at, period),
        func.count(Activity.user_id.distinct()),
    )
    return DetailedFigures(
        by_day=[
            DayFigures(day=day, active_users=seen.get(day, 0), posts=posts.get(day, 0), files=files.get(day, 0))
            for day in _days(period)
        ],
        top_authors=await _top_authors(db, tenant_id, period),
        storage_by_type=await _storage_by_type(db, tenant_id),
    )


async def _top_authors(db: AsyncSession, tenant_id: UUID, period: Period) -> list[TopAuthor]:
    count = func.count().label("posts")
    rows = (
        select(Post.author_id, count)
        .where(_published(tenant_id), _within(Post.published_at, period))
        .group_by(Post.author_id)
        .order_by(count.desc(), Post.author_id)
        .limit(_AUTHORS)
    )
    found = (await db.execute(rows)).all()
    known = await profiles.of_people(db, tenant_id, [row.author_id for row in found])
    return [TopAuthor(id=row.author_id, username=known[row.author_id].username, posts=row.posts) for row in found]


async def _storage_by_type(db: AsyncSession, tenant_id: UUID) -> list[StoredType]:
    size = func.sum(File.size_bytes).label("bytes")
    rows = (
        select(File.content_type, func.count().label("count"), size)
        .where(File.tenant_id == tenant_id)
        .group_by(File.content_type)
        .order_by(size.desc(), File.content_type)
    )
    return [StoredType(content_type=kind, count=count, bytes=size) for kind, count, size in await db.execute(rows)]


async def _sensitive(db: AsyncSession, tenant_id: UUID) -> SensitiveFigures:
    size = func.sum(File.size_bytes).label("bytes")
    stored = (
        select(File.owner_id, size)
        .where(File.tenant_id == tenant_id)
        .group_by(File.owner_id)
        .order_by(size.desc(), File.owner_id)
        .limit(_PEOPLE)
    )
    sizes = {row.owner_id: row.bytes for row in await db.execute(stored)}
    seen = (
        select(Activity.user_id, func.max(Activity.created_at).label("last"))
        .where(Activity.tenant_id == tenant_id, Activity.user_id.in_(list(sizes)))
        .group_by(Activity.user_id)
    )
    last = {row.user_id: row.last for row in await db.execute(seen)}
    return SensitiveFigures(
        people=[PersonFigures(id=one, last_seen_at=last.get(one), storage_bytes=size) for one, size in sizes.items()]
    )


def _published(tenant_id: UUID) -> ColumnElement[bool]:
    return and_(Post.tenant_id == tenant_id, Post.status == "published")


def _within(
    column: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None], period: Period
) -> ColumnElement[bool]:
    return and_(column >= _midnight(period.first), column < _midnight(period.end))


def _of(
    tenant: InstrumentedAttribute[UUID], tenant_id: UUID, column: InstrumentedAttribute[datetime], period: Period
) -> ColumnElement[bool]:
    return and_(tenant == tenant_id, _within(column, period))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


async def _count(db: AsyncSession, rows: ColumnElement[bool]) -> int:
    return await db.scalar(select(func.count()).where(rows)) or 0


async def _by_day(
    db: AsyncSession,
    column: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
    rows: ColumnElement[bool],
    counted: ColumnElement[int] | None = None,
) -> dict[date, int]:
    """How many rows there are of each day; connections are in UTC."""
    day = cast(column, Date).label("day")
    found = select(day, func.count() if counted is None else counted).where(rows).group_by(day)
    return {row[0]: row[1] for row in await db.execute(found)}


def _days(period: Period) -> Iterator[date]:
    for number in range((period.end - period.first).days):
        yield period.first + timedelta(days=number)
