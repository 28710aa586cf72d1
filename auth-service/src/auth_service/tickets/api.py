from fastapi import Depends, Response

from auth_service.deps import Settings
from auth_service.sessions.signed_in import SignedIn
from auth_service.tickets import service
from auth_service.tickets.schemas import RedeemIn, RedeemOut, TicketIn, TicketOut
from shared.deps import Db, require_grant
from shared.problems import InvalidToken, raises
from shared.web.router import Router

router = Router(tags=["tickets"])


@router.post("/auth/tickets", status_code=201)
async def make_ticket(body: TicketIn, user: SignedIn, db: Db, settings: Settings, response: Response) -> TicketOut:
    """A ticket that replaces the caller's token at GET on exactly this path, for 30 seconds; at /ws once."""
    response.headers["Cache-Control"] = "no-store"
    return TicketOut(ticket=await service.make(db, user, body.path, settings.public_url))


@router.post("/internal/tickets/redeem", dependencies=[Depends(require_grant("tickets:redeem"))])
@raises(InvalidToken)
async def redeem_ticket(body: RedeemIn, db: Db) -> RedeemOut:
    """The identity behind a ticket."""
    return RedeemOut(claims=await service.redeem(db, body.ticket, body.path))
