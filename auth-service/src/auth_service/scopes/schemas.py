"""What the registry of scopes is asked, and what it answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Reason = Literal["unknown", "roles", "session"]


class ScopesQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    category: Annotated[str, Field(max_length=50)] | None = None
    sensitive: bool | None = None


class MyScopesQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scope: Annotated[str, Field(max_length=2000)] | None = Field(
        default=None, description="The scopes to explain, separated by spaces; omitted: all."
    )


class ScopeOut(BaseModel):
    """A scope, and the roles that grant it."""

    name: str = Field(examples=["jobs:read"])
    description: str = Field(examples=["Read the caller's jobs, their progress and results."])
    category: str = Field(examples=["jobs"])
    sensitive: bool
    roles: list[str] = Field(examples=[["user"]])


class ScopesOut(BaseModel):
    scopes: list[ScopeOut]


class MyScope(BaseModel):
    """`reason`: why the scope is not granted. `unknown`: no such scope; `roles`: none of the caller's roles grants it;
    `session`: the session was opened without it."""

    name: str = Field(examples=["jobs:read"])
    granted: bool = Field(examples=[True])
    reason: Reason | None = Field(examples=[None])


class MyScopesOut(BaseModel):
    scope: str = Field(description="The scopes of the token, separated by spaces.", examples=["profile:read jobs:read"])
    roles: list[str] = Field(examples=[["user"]])
    scopes: list[MyScope]
