"""What this process opens beside the shared resources: presence, the hub, and what handles a socket's frames."""

from functools import partial

from redis.asyncio import Redis

from chat_service.delivery import hints
from chat_service.delivery.fanout import Fanout
from chat_service.delivery.hub import Hub
from chat_service.messages.rate import MessageRate
from chat_service.presence.register import Presence, RoomKey
from chat_service.push import Stored, StreamKey, StreamKind
from chat_service.settings import ChatSettings
from chat_service.socket.frame_handlers import FrameHandlers
from shared.data.database import Database
from shared.events import tenant_erasure
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.revocations import Revocations
from shared.limits import SharedBuckets
from shared.process import Process
from shared.web import idempotency_keys


async def open_resources(process: Process) -> None:
    settings, database, cache = process.get(ChatSettings), process.get(Database), process.get(Redis)
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    fanout = Fanout(cache, url)
    presence = Presence(cache, settings.presence, publish_change=partial(_publish_presence, fanout))
    process.add_closing(presence, presence.close)
    hub = process.add(Hub(database, fanout, presence, settings.poll_s))
    database.listen(Stored, hub.push)
    revocations = process.get(Revocations)
    revocations.subscribe(hub.on_revoked)
    limits = SharedBuckets(url)
    rate = process.add(MessageRate(limits))
    process.add(FrameHandlers(database, hub, presence, rate, process.get(AccessTokenVerifier), revocations))
    process.run("limits", limits.connection.run)
    for loop in (fanout.receiving, fanout.sending, hub.comparing, presence.syncing, idempotency_keys.pruning(database)):
        process.loop(loop)
    process.loop(tenant_erasure.erasing(database))


def _publish_presence(fanout: Fanout, room: RoomKey) -> None:
    fanout.publish(StreamKey(StreamKind.ROOM, *room), hints.presence_changed())
