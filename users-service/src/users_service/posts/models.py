from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Select,
    delete,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, REGCONFIG, TSVECTOR
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from shared.data.models import Placed

SEARCH = (
    "setweight(to_tsvector(language, title), 'A') || setweight(to_tsvector('simple', title), 'A')"
    " || to_tsvector(language, content) || to_tsvector('simple', content)"
    " || array_to_tsvector(ARRAY['tenant ' || tenant_id::text])"
)
"""What is searched: words as they are and stemmed, and a lexeme that stands for the tenant (see `matching`)."""


class Post(Placed):
    """A post; a draft is its author's alone."""

    __tablename__ = "posts"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        CheckConstraint("status IN ('draft', 'published')", name="status"),
        CheckConstraint("status = 'draft' OR published_at IS NOT NULL", name="published_at"),
        Index("ix_posts_tenant_id_created_at_id", "tenant_id", "created_at", "id"),
        Index("ix_posts_tenant_id_author_id_created_at_id", "tenant_id", "author_id", "created_at", "id"),
        Index("ix_posts_search", "search", postgresql_using="gin"),
    )

    id: Mapped[UUID]
    author_id: Mapped[UUID]
    title: Mapped[str]
    content: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    status: Mapped[str]
    language: Mapped[str] = mapped_column(REGCONFIG)
    """The text search configuration of the author's language."""
    search: Mapped[Any] = mapped_column(TSVECTOR, Computed(SEARCH, persisted=True), deferred=True)
    version: Mapped[int] = mapped_column(server_default=text("1"))
    published_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class PostTag(Placed):
    """A tag of a post, for finding posts by it; `created_at` is the post's."""

    __tablename__ = "post_tags"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "post_id", "tag"),
        ForeignKeyConstraint(["tenant_id", "post_id"], ["posts.tenant_id", "posts.id"], ondelete="CASCADE"),
        Index("ix_post_tags_tenant_id_tag_created_at_post_id", "tenant_id", "tag", "created_at", "post_id"),
    )

    post_id: Mapped[UUID]
    tag: Mapped[str]
    created_at: Mapped[datetime]


class PostRemoval(Placed):
    """That someone else than the author removed a post, and why."""

    __tablename__ = "post_removals"
    __table_args__ = (PrimaryKeyConstraint("tenant_id", "post_id"),)

    post_id: Mapped[UUID]
    author_id: Mapped[UUID]
    removed_by: Mapped[UUID]
    reason: Mapped[str]
    removed_at: Mapped[datetime] = mapped_column(server_default=func.now())


async def find(db: AsyncSession, tenant_id: UUID, post_id: UUID, *, for_update: bool = False) -> Post | None:
    return await db.get(Post, (tenant_id, post_id), with_for_update=for_update)


async def retag(db: AsyncSession, post: Post) -> None:
    """Make the rows of `post_tags` those of the post."""
    own = (PostTag.tenant_id == post.tenant_id, PostTag.post_id == post.id)
    await db.execute(delete(PostTag).where(*own, PostTag.tag.not_in(post.tags)))
    there = set(await db.scalars(select(PostTag.tag).where(*own)))
    db.add_all(
        PostTag(tenant_id=post.tenant_id, post_id=post.id, tag=tag, created_at=post.created_at)
        for tag in post.tags
        if tag not in there
    )


def tagged(rows: Select[Any], tenant_id: UUID, tags: Collection[str]) -> Select[Any]:
    """Those of `rows` that have one of the tags."""
    having = select(PostTag.post_id).where(PostTag.tenant_id == tenant_id, PostTag.tag.in_(tags))
    return rows.where(Post.id.in_(having))


def matching(rows: Select[Any], query: str, language: str) -> Select[Any]:
    """Those of `rows` that match the words of `query`, as web searches write them, plain or stemmed in `language`.

    The function runs as the owner of the tables: under row-level security no index serves `@@`, because a function that
    might reveal rows by its errors runs after the policy only. It searches the tenant of the transaction alone.
    """
    return rows.where(Post.id.in_(select(func.public.matching_posts(query, language))))


async def erase(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    """Delete a person's posts in the tenant, and what it holds about their removed ones."""
    await db.execute(delete(Post).where(Post.tenant_id == tenant_id, Post.author_id == user_id))
    await db.execute(delete(PostRemoval).where(PostRemoval.tenant_id == tenant_id, PostRemoval.author_id == user_id))


async def count_published(db: AsyncSession, tenant_id: UUID, author_ids: Iterable[UUID]) -> int:
    """How many posts of these people are published."""
    rows = select(func.count()).where(
        Post.tenant_id == tenant_id, Post.author_id.in_(list(author_ids)), Post.status == "published"
    )
    return await db.scalar(rows) or 0
