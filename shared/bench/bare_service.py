"""The peer of service.py: one FastAPI route that reads one profile by SQLAlchemy, as FastAPI's tutorial writes it.

It has no tokens, tenants, request ids, logs, metrics, traces or problems. DATABASE_URL is an administrator's login,
for which PostgreSQL checks no policies. `POOL_SIZE` and the port come from service.py.
"""

import os
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Profile(Base):
    __tablename__ = "profiles"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    username: Mapped[str]
    full_name: Mapped[str | None]
    bio: Mapped[str | None]
    phone: Mapped[str | None]
    birth_date: Mapped[date | None]
    locale: Mapped[str | None]
    version: Mapped[int]
    updated_at: Mapped[datetime]


class ProfileOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    username: str
    full_name: str | None
    bio: str | None
    phone: str | None
    birth_date: date | None
    locale: str | None
    updated_at: datetime


engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=int(os.environ["POOL_SIZE"]), max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as db:
        yield db


@app.get("/tenants/{tenant_id}/profiles/{user_id}")
async def read_profile(tenant_id: UUID, user_id: UUID, db: Annotated[AsyncSession, Depends(session)]) -> ProfileOut:
    profile = await db.get(Profile, (tenant_id, user_id))
    if profile is None:
        raise HTTPException(404)
    return ProfileOut.model_validate(profile)


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", ws="none", access_log=False, log_config=None
    )
