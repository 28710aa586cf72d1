from typing import Annotated

from fastapi import Depends, Query

from shared.deps import FleetDb, require_grant
from shared.identity.revocation_entries import FeedPage
from shared.identity.revocation_feed import FeedMark
from shared.web.router import Router
from users_service.revocations import service

router = Router(prefix="/internal/revocations", tags=["internal"])


@router.get("", dependencies=[Depends(require_grant("revocations:read"))])
async def read_revocations(
    mark: FeedMark, fleet: FleetDb, after: Annotated[str | None, Query(max_length=32)] = None
) -> FeedPage:
    """Memberships and tenants whose state changed since the cursor `after`; without one, all that still matters."""
    return (await service.feed(fleet, after)).marked(mark)
