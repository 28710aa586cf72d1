"""Placing and reading orders."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from orders_service.orders.models import Order
from shared.identity.principal import Principal, tenant_of
from shared.ids import new_id
from shared.problems import NotFound


class OrderNotFound(NotFound):
    """The tenant has no order with this id."""

    status, title = 404, "No such order in this tenant"


async def place(db: AsyncSession, user: Principal, item: str, quantity: int) -> Order:
    """Store a new order."""
    order = Order(tenant_id=tenant_of(user), id=new_id(), item=item, quantity=quantity, placed_by=user.user_id)
    db.add(order)
    await db.flush()
    return order


async def read(db: AsyncSession, user: Principal, order_id: UUID) -> Order:
    """Return one order. Raises OrderNotFound."""
    order = await db.get(Order, (tenant_of(user), order_id))
    if order is None:
        raise OrderNotFound
    return order
