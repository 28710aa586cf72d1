"""A published post is logged, and its author's followers are notified: two effects of one event, in one transaction.

Here and not with the publishing, which stays as quick for an author with ten thousand followers.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import EventHandlers
from users_service.activity.handlers import PostPublished, log_event
from users_service.follows import service

handlers = EventHandlers()


@handlers.on(PostPublished)
async def post_published(db: AsyncSession, event: PostPublished) -> None:
    await log_event(db, event)
    if event.tenant_id is not None:
        await service.notify_followers(db, event.tenant_id, event.author_id, event.subject, event.id)
