from fastapi import Depends

from orders_service.orders import service
from orders_service.orders.schemas import OrderIn, OrderOut
from orders_service.orders.service import OrderNotFound
from shared.deps import CurrentUser, Db, ExampleId, require_scopes
from shared.problems import NoTenant, raises
from shared.web.router import Router

router = Router(prefix="/api/v1/orders", tags=["orders"])


@router.post("", status_code=201, dependencies=[Depends(require_scopes("orders:write"))])
@raises(NoTenant)
async def place_order(body: OrderIn, user: CurrentUser, db: Db) -> OrderOut:
    """Place an order in the caller's tenant."""
    return OrderOut.model_validate(await service.place(db, user, body.item, body.quantity))


@router.get("/{order_id}", dependencies=[Depends(require_scopes("orders:read"))])
@raises(NoTenant, OrderNotFound)
async def read_order(order_id: ExampleId, user: CurrentUser, db: Db) -> OrderOut:
    """Read one order of the caller's tenant."""
    return OrderOut.model_validate(await service.read(db, user, order_id))
