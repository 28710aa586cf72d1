"""Posts as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.field_errors import FieldRule
from shared.text import NAME, PLAIN_TEXT, name
from shared.web.json_input import Input
from shared.web.paging import PagedQuery
from users_service.posts.models import Post

MAX_TAGS: Final = 10
_EXAMPLE: Final[dict[str, Any]] = {
    "title": "A new boat",
    "content": "She sails on Monday.",
    "tags": ["boats"],
    "status": "published",
}

TOO_MANY_TAGS: Final = FieldRule("too_many_tags", "Must have at most {most} different tags.")

Status = Literal["draft", "published"]
Title = Annotated[str, Field(min_length=1, max_length=200), NAME]
Content = Annotated[str, Field(min_length=1, max_length=50_000), PLAIN_TEXT]
Reason = Annotated[str, Field(min_length=3, max_length=500), PLAIN_TEXT]


def _tag(value: Any) -> Any:
    """A tag as it is stored: lower case, one line."""
    return name(value).lower() if isinstance(value, str) else value


def _different(tags: list[str]) -> list[str]:
    """Each tag once, in the order sent. Raises ValueError for too many."""
    found = list(dict.fromkeys(tags))
    if len(found) > MAX_TAGS:
        raise TOO_MANY_TAGS.broken(most=MAX_TAGS)
    return found


Tag = Annotated[str, Field(min_length=1, max_length=40), BeforeValidator(_tag)]
Tags = Annotated[list[Tag], Field(max_length=100), AfterValidator(_different)]


class PostIn(Input):
    """A whole post: what PUT leaves out is emptied, and a post without a status is a draft."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    title: Title
    content: Content
    tags: Tags = Field(default_factory=list)
    status: Status = "draft"


class PostPatch(Input):
    """A JSON Merge Patch (RFC 7396): absent leaves a field; null empties the tags, and is refused elsewhere."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "published"}})

    title: Title | None = None
    content: Content | None = None
    tags: Tags | None = None
    status: Status | None = None


class Author(BaseModel):
    id: UUID
    username: str = Field(examples=["ann"])


class PostOut(BaseModel):
    id: UUID
    title: str = Field(examples=["A new boat"])
    content: str = Field(examples=["She sails on Monday."])
    tags: list[str] = Field(examples=[["boats"]])
    status: Status
    author: Author
    published_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, post: Post, username: str) -> "PostOut":
        return cls(
            id=post.id,
            title=post.title,
            content=post.content,
            tags=post.tags,
            status="published" if post.status == "published" else "draft",
            author=Author(id=post.author_id, username=username),
            published_at=post.published_at,
            created_at=post.created_at,
            updated_at=post.updated_at,
        )


class PostQuery(PagedQuery):
    q: str | None = Field(
        default=None, min_length=3, max_length=200, description='Words, "a phrase", -without; in title and content.'
    )
    tag: list[Tag] = Field(default_factory=list, max_length=MAX_TAGS, description="Posts with one of these tags.")
    author_id: UUID | None = Field(default=None, examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    status: list[Status] = Field(default_factory=list, max_length=2)


class RemovalQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = Field(default=None, description="Why another person's post is removed; required there.")
