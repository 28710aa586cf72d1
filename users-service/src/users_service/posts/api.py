"""Posts of the caller's tenant."""

from typing import Annotated

from fastapi import Depends, Query, Response

from shared.deps import Conditions, CurrentUser, Db, ExampleId, require_any_scope, require_scopes
from shared.field_errors import REQUIRED
from shared.problems import InsufficientScope, InvalidInput, NoTenant, raises
from shared.web.idempotency import IdempotentJson
from shared.web.paging import CursorPage, NumberedPage, shown_page
from shared.web.router import Router
from users_service.posts import service
from users_service.posts.schemas import PostIn, PostOut, PostPatch, PostQuery, RemovalQuery
from users_service.posts.service import NotTheAuthor, PostNotFound

router = Router(prefix="/api/v1/posts", tags=["posts"])

READ, WRITE = [Depends(require_scopes("posts:read"))], [Depends(require_scopes("posts:write"))]
PostId = ExampleId


@router.get("", dependencies=READ)
@raises(NoTenant)
async def list_posts(
    user: CurrentUser, db: Db, query: Annotated[PostQuery, Query()]
) -> CursorPage[PostOut] | NumberedPage[PostOut]:
    """Published posts of the tenant and the caller's drafts, the newest first."""
    found, following = await service.page(db, user, query)
    return shown_page([PostOut.of(*one) for one in found], following)


@router.post("", status_code=201, dependencies=WRITE)
@raises(NoTenant)
async def create_post(
    body: PostIn, user: CurrentUser, db: Db, once: IdempotentJson, conditions: Conditions, response: Response
) -> PostOut:
    """Write a post. A published one is seen by the tenant at once, and its author's followers are notified."""
    post, username = await service.create(db, user, body.model_dump())
    shown = PostOut.of(post, username)
    headers = {"Location": f"{router.prefix}/{post.id}", "ETag": f'"{post.version}"'}
    await once.keep(shown, 201, headers)
    response.headers.update(headers)
    return shown


@router.get("/{post_id}", dependencies=READ)
@raises(PostNotFound)
async def read_post(post_id: PostId, user: CurrentUser, db: Db, conditions: Conditions) -> PostOut:
    """One post."""
    post, username = await service.read(db, user, post_id)
    conditions.shows(post.version)
    return PostOut.of(post, username)


@router.put("/{post_id}", dependencies=WRITE)
@raises(PostNotFound, NotTheAuthor, NoTenant)
async def replace_post(post_id: PostId, body: PostIn, user: CurrentUser, db: Db, conditions: Conditions) -> PostOut:
    """Replace the caller's post."""
    post, username = await service.change(db, user, post_id, body.model_dump(), conditions.allow_write)
    conditions.wrote(post.version)
    return PostOut.of(post, username)


@router.patch("/{post_id}", dependencies=WRITE)
@raises(PostNotFound, NotTheAuthor, NoTenant, InvalidInput)
async def patch_post(post_id: PostId, body: PostPatch, user: CurrentUser, db: Db, conditions: Conditions) -> PostOut:
    """Change the fields of the caller's post that are sent."""
    changes = body.model_dump(exclude_unset=True)
    if "tags" in changes:
        changes["tags"] = changes["tags"] or []
    if empty := [name for name, value in changes.items() if value is None]:
        raise InvalidInput(errors=[REQUIRED.at(f"#/{name}") for name in empty])
    post, username = await service.change(db, user, post_id, changes, conditions.allow_write)
    conditions.wrote(post.version)
    return PostOut.of(post, username)


@router.delete("/{post_id}", status_code=204, dependencies=[Depends(require_any_scope("posts:write", "posts:delete"))])
@raises(PostNotFound, NoTenant, InsufficientScope, InvalidInput)
async def delete_post(
    post_id: PostId, user: CurrentUser, db: Db, conditions: Conditions, query: Annotated[RemovalQuery, Query()]
) -> None:
    """Delete the caller's post, or with posts:delete and a reason another person's."""
    await service.delete(db, user, post_id, query.reason, conditions.allow_write)


@router.options("/{post_id}", status_code=204, dependencies=READ, include_in_schema=False)
async def post_options(post_id: PostId, response: Response) -> None:
    """The methods of a post."""
    response.headers["Allow"] = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
