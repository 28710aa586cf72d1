from typing import Annotated

from fastapi import Depends, Query

from auth_service.revocations import service
from shared.deps import Db, require_grant
from shared.identity.revocation_entries import FeedPage
from shared.identity.revocation_feed import FeedMark
from shared.web.router import Router

router = Router(prefix="/internal", tags=["internal"])


@router.get("/revocations", dependencies=[Depends(require_grant("revocations:read"))])
async def read_revocations(
    mark: FeedMark,
    db: Db,
    after: Annotated[str | None, Query(max_length=32, description="`next` of the answer before.")] = None,
) -> FeedPage:
    """Sessions, tokens and people whose tokens have ended since `after`, 30 s overlapping; all without it."""
    return (await service.page(db, after)).marked(mark)
