"""A service with one slice that uses every web mechanism, migrated and served as real ones are."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pytest
from fastapi import Depends, Query, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, PrimaryKeyConstraint, UniqueConstraint, func, select, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.app import Service
from shared.data.models import Tenanted
from shared.identity.access import CurrentUser, require_scopes
from shared.ids import new_id
from shared.problems import Conflict, NotFound
from shared.settings import ServiceSettings
from shared.web import paging, sse
from shared.web.conditional import Conditions
from shared.web.idempotency import IdempotentJson
from shared.web.json_input import Input, Json
from shared.web.paging import CursorPage, ListQuery, NumberedPage
from shared.web.router import Router
from shared.web.session import Db

_FIRST = """
import sqlalchemy as sa
from alembic import op
from shared.data.policies import enable_tenancy
from shared.events.migration import create_event_tables
from shared.web.idempotency_keys import create_idempotency_table

revision = "0001"
down_revision = None


def upgrade():
    create_event_tables(op)
    op.execute('''CREATE TABLE pages (tenant_id uuid NOT NULL, id uuid NOT NULL, title text NOT NULL, extra jsonb,
        version bigint NOT NULL DEFAULT 1, created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT pk_pages PRIMARY KEY (tenant_id, id),
        CONSTRAINT uq_pages_title UNIQUE (tenant_id, title) DEFERRABLE INITIALLY DEFERRED)''')
    create_idempotency_table(op, service="probe")
    enable_tenancy(op, "pages", service="probe")
"""
_ENV = "from shared.data.migrations import run\n\nrun()\n"


class Page(Tenanted):
    __tablename__ = "pages"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "title", name="uq_pages_title", deferrable=True, initially="DEFERRED"),
    )

    id: Mapped[UUID]
    title: Mapped[str]
    extra: Mapped[dict[str, Any] | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class PageIn(Input):
    title: str
    extra: Json = None


class PageOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str


class WritesKept(Conflict):
    """A refusal that leaves a trace."""

    status, title, keeps_writes = 409, "Kept", True


class WritesDropped(Conflict):
    """A refusal that leaves none."""

    status, title = 409, "Dropped"


router = Router()


@router.post("/pages", status_code=201)
async def create_page(body: PageIn, user: CurrentUser, db: Db, once: IdempotentJson) -> PageOut:
    page = Page(id=new_id(), tenant_id=user.tenant_id, title=body.title, extra=body.extra)
    db.add(page)
    await db.flush()
    out = PageOut.model_validate(page)
    await once.keep(out, 201)
    return out


@router.post("/long-pages", max_body_size=2 * 1024 * 1024)
async def measure_page(body: PageIn) -> int:
    return len(body.title)


@router.get("/pages")
async def list_pages(query: Annotated[ListQuery, Query()], db: Db) -> CursorPage[PageOut]:
    found, following = await paging.by_cursor(
        db, select(Page), query, {"created_at": Page.created_at, "title": Page.title}, Page.id
    )
    return CursorPage(items=[PageOut.model_validate(page) for page in found], next_cursor=following)


@router.get("/numbered-pages")
async def list_numbered_pages(db: Db, page: int = 1, size: int = 2) -> NumberedPage[PageOut]:
    found, pagination = await paging.by_page(db, select(Page).order_by(Page.title), page, size)
    return NumberedPage(items=[PageOut.model_validate(one) for one in found], pagination=pagination)


@router.get("/pages/{page_id}", dependencies=[Depends(require_scopes("posts:read"))])
async def read_page(page_id: UUID, user: CurrentUser, db: Db, conditions: Conditions) -> PageOut:
    if (page := await db.get(Page, (user.tenant_id, page_id))) is None:
        raise NotFound
    conditions.shows(page.version)
    return PageOut.model_validate(page)


@router.put("/pages/{page_id}")
async def replace_page(page_id: UUID, body: PageIn, user: CurrentUser, db: Db, conditions: Conditions) -> PageOut:
    if (page := await db.get(Page, (user.tenant_id, page_id), with_for_update=True)) is None:
        raise NotFound
    conditions.allow_write(page.version)
    page.title, page.version = body.title, page.version + 1
    conditions.wrote(page.version)
    return PageOut.model_validate(page)


@router.post("/refusals/{kept}")
async def refuse(kept: bool, body: PageIn, user: CurrentUser, db: Db) -> None:
    db.add(Page(id=new_id(), tenant_id=user.tenant_id, title=body.title))
    await db.flush()
    raise WritesKept if kept else WritesDropped


@router.get("/failures")
async def fail() -> None:
    raise RuntimeError("the secret cause")


@router.get("/sql")
async def sql(user: CurrentUser, db: Db) -> None:
    await db.execute(text("SELECT repeat('x', 10)::int"))


@router.get("/ticks")
async def ticks(user: CurrentUser, db: Db, last: int = 0) -> Response:
    if last >= 3:
        return Response(status_code=204)

    async def three() -> AsyncIterator[bytes]:
        for number in range(last + 1, 4):
            yield sse.event("tick", str(number), id=str(number))

    return sse.stream(three())


@router.get("/endless-ticks")
async def endless_ticks(user: CurrentUser) -> Response:
    async def ticks() -> AsyncIterator[bytes]:
        while True:
            yield sse.event("tick", "")
            await asyncio.sleep(0.01)

    return sse.stream(ticks())


class ProbeSettings(ServiceSettings):
    service: ClassVar[str] = "probe"


@dataclass(frozen=True)
class Probe(Service):
    folder: Path = field(default_factory=Path)

    @property
    def migrations(self) -> Path:
        return self.folder


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    folder = tmp_path_factory.mktemp("probe") / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(_ENV)
    (folder / "versions" / "0001_first.py").write_text(_FIRST)
    return Probe("probe", "shared", ProbeSettings, "A service for tests.", routers=[router], folder=folder)
