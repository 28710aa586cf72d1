"""The rules of posts: drafts are their author's, published posts the tenant's; moderators remove, with a reason."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import outbox
from shared.field_errors import REQUIRED
from shared.identity.principal import Principal, tenant_of
from shared.ids import new_id
from shared.problems import AllowWrite, InsufficientScope, InvalidInput, NotFound
from shared.web.paging import Pagination, by_query
from users_service.notifications import service as notifications
from users_service.posts import models
from users_service.posts.events import PostPublished, PostRemoved
from users_service.posts.languages import SIMPLE, configuration
from users_service.posts.models import Post, PostRemoval
from users_service.posts.schemas import PostQuery
from users_service.profiles import models as profiles
from users_service.tenants.models import find_membership
from users_service.tenants.service import authorize_write, require

_SORTABLE = {"created_at": Post.created_at, "updated_at": Post.updated_at, "title": Post.title}

Shown = tuple[Post, str]
"""A post and the username of its author."""


class PostNotFound(NotFound):
    """The post does not exist in this tenant, or it is another person's draft."""

    status, title = 404, "No such post"


class NotTheAuthor(InsufficientScope):
    """Only its author changes a post; moderators can remove it."""

    status, title = 403, "Only the author changes a post"
    remedy = "Ask the author; with posts:delete the post can be removed."


async def page(db: AsyncSession, user: Principal, query: PostQuery) -> tuple[Sequence[Shown], str | Pagination | None]:
    """Published posts and the caller's drafts, by the list grammar; with admin:read others' drafts too."""
    tenant_id = tenant_of(user)
    rows = select(Post).where(Post.tenant_id == tenant_id)
    if "admin:read" not in user.scopes:
        rows = rows.where(or_(Post.status == "published", Post.author_id == user.user_id))
    if query.author_id is not None:
        rows = rows.where(Post.author_id == query.author_id)
    if query.status:
        rows = rows.where(Post.status.in_(query.status))
    if query.tag:
        rows = models.tagged(rows, tenant_id, query.tag)
    if query.q is not None:
        rows = models.matching(rows, query.q, await _language(db, user))
    found, following = await by_query(db, rows, query, _SORTABLE, Post.id)
    return await _with_names(db, found), following


async def read(db: AsyncSession, user: Principal, post_id: UUID) -> Shown:
    """A post that the caller may see. Raises PostNotFound."""
    return (await _with_names(db, [await _visible(db, user, post_id)]))[0]


async def create(db: AsyncSession, user: Principal, values: dict[str, Any]) -> Shown:
    """Write a post in the language of the caller's profile."""
    await authorize_write(db, user, "posts:write")
    post = Post(
        tenant_id=tenant_of(user),
        id=new_id(),
        author_id=user.user_id,
        language=await _language(db, user),
        version=1,
        **values,
    )
    if post.status == "published":
        _publish(db, post)
    db.add(post)
    return await _stored(db, post)


async def change(db: AsyncSession, user: Principal, post_id: UUID, changes: dict[str, Any], allow: AllowWrite) -> Shown:
    """Set the fields in `changes`; unchanged values make no version. Raises PostNotFound, NotTheAuthor."""
    await authorize_write(db, user, "posts:write")
    post = await _visible(db, user, post_id, for_update=True)
    if post.author_id != user.user_id:
        raise NotTheAuthor
    allow(post.version)
    news = {name: value for name, value in changes.items() if getattr(post, name) != value}
    if not news:
        return (await _with_names(db, [post]))[0]
    for name, value in news.items():
        setattr(post, name, value)
    post.version += 1
    if {"title", "content"} & news.keys():
        post.language = await _language(db, user)
    if news.get("status") == "published" and post.published_at is None:
        _publish(db, post)
    return await _stored(db, post)


async def delete(db: AsyncSession, user: Principal, post_id: UUID, reason: str | None, allow: AllowWrite) -> None:
    """Delete the caller's own post, or with posts:delete another person's, for a reason that is kept.

    Raises PostNotFound, InsufficientScope, InvalidInput.
    """
    user = await authorize_write(db, user)
    post = await _visible(db, user, post_id, for_update=True)
    own = post.author_id == user.user_id
    needed = "posts:write" if own else "posts:delete"
    if needed not in user.scopes:
        raise InsufficientScope(scopes=[needed])
    allow(post.version)
    if not own:
        if reason is None:
            raise InvalidInput(errors=[REQUIRED.at(parameter="reason")])
        await _record_removal(db, user, post, reason)
    await db.delete(post)


async def remove_reported(db: AsyncSession, caller: Principal, post_id: UUID, reason: str) -> None:
    """Delete a post that was reported, even if it is a draft by now. Raises PostNotFound, InsufficientScope.

    `caller` has the roles that they have in this transaction.
    """
    require(caller, ["posts:delete"])
    post = await models.find(db, tenant_of(caller), post_id, for_update=True)
    if post is None:
        raise PostNotFound
    await _record_removal(db, caller, post, reason)
    await db.delete(post)


async def _record_removal(db: AsyncSession, user: Principal, post: Post, reason: str) -> None:
    db.add(
        PostRemoval(
            tenant_id=post.tenant_id,
            post_id=post.id,
            author_id=post.author_id,
            removed_by=user.user_id,
            reason=reason,
        )
    )
    removed = PostRemoved(
        subject=post.id,
        tenant_id=post.tenant_id,
        subject_version=post.version + 1,
        author_id=post.author_id,
        removed_by=user.user_id,
    )
    outbox.add(db, removed)
    author = await find_membership(db, post.tenant_id, post.author_id)
    if author is not None and author.status == "active":
        notifications.request(
            db,
            post.tenant_id,
            [post.author_id],
            "post.removed",
            subject=post.id,
            occasion_id=removed.id,
            data={"post_id": post.id},
        )


def _publish(db: AsyncSession, post: Post) -> None:
    """The first time only: followers hear of a post once."""
    post.published_at = func.now()
    outbox.add(
        db,
        PostPublished(
            subject=post.id, tenant_id=post.tenant_id, subject_version=post.version, author_id=post.author_id
        ),
    )


async def _stored(db: AsyncSession, post: Post) -> Shown:
    await db.flush()
    await db.refresh(post)
    await models.retag(db, post)
    await db.flush()
    return (await _with_names(db, [post]))[0]


async def _visible(db: AsyncSession, user: Principal, post_id: UUID, *, for_update: bool = False) -> Post:
    post = await models.find(db, user.tenant_id, post_id, for_update=for_update) if user.tenant_id else None
    if post is None:
        raise PostNotFound
    if post.status == "draft" and post.author_id != user.user_id and "admin:read" not in user.scopes:
        raise PostNotFound
    return post


async def _language(db: AsyncSession, user: Principal) -> str:
    """The text search configuration of the caller's own language."""
    profile = await profiles.find(db, tenant_of(user), user.user_id)
    return configuration(profile.locale) if profile else SIMPLE


async def _with_names(db: AsyncSession, posts: Sequence[Post]) -> list[Shown]:
    if not posts:
        return []
    known = await profiles.of_people(db, posts[0].tenant_id, {post.author_id for post in posts})
    return [(post, known[post.author_id].username) for post in posts]
