from typing import Annotated

from fastapi import Depends, Query

from auth_service.deps import Db, require_service
from auth_service.revocations import service
from shared.identity.revocation_entries import FeedPage
from shared.web.router import Router

router = Router(prefix="/internal", tags=["internal"])

FOLLOWERS = [Depends(require_service("gateway", "users", "chat", "tasks"))]


@router.get("/revocations", dependencies=FOLLOWERS)
async def read_revocations(
    db: Db, after: Annotated[str | None, Query(max_length=32, description="`next` of the answer before.")] = None
) -> FeedPage:
    """Sessions, tokens and people whose tokens have ended since `after`, 30 s overlapping; all without it."""
    return await service.page(db, after)
