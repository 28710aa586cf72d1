"""Builds the gateway from its settings and serves it."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from gateway.admin.app import admin_application, detail_checks, readiness_checks
from gateway.edge.access_log import AccessLog
from gateway.edge.arrival import Arrival
from gateway.edge.handshake import Handshakes
from gateway.edge.pipeline import Edge
from gateway.edge.server import EdgeServer, bound_sockets
from gateway.edge.tracing import Spans
from gateway.policy.admission import Admission
from gateway.policy.cors import Cors
from gateway.policy.identity import Identity, InternalTokens
from gateway.policy.limits import Tiers
from gateway.policy.streams import OpenStreams
from gateway.policy.tenant import TenantRule
from gateway.portal.app import Portal
from gateway.proxy.aiohttp_client import AiohttpClient
from gateway.proxy.forward import Forwarder
from gateway.proxy.replicas import Replicas
from gateway.proxy.websocket_client import open_socket
from gateway.routes import file
from gateway.settings import GatewaySettings
from shared.background import supervise
from shared.clients import Clients
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.revocations import Revocations
from shared.identity.tokens import Signer
from shared.limits import Limiter
from shared.process import open_process
from shared.telemetry import traces
from shared.web.health import HealthChecks

log = structlog.get_logger("gateway")


@dataclass
class Gateway:
    """A running gateway: the application, and the state that shutdown, reload and the admin port need."""

    edge: Edge
    checks: HealthChecks
    streams: OpenStreams
    limiter: Limiter
    settings: GatewaySettings

    def drain(self) -> None:
        """Report not ready, and end open streams so that their clients reconnect to another gateway."""
        self.checks.draining = True
        self.streams.close()

    def reload_routes(self) -> None:
        """Reload the route file. An invalid one is logged and changes nothing."""
        try:
            self.edge.matcher = file.load(self.settings.routes_file, self.settings.origins)
        except file.TableInvalid as error:
            log.error("routes_reload_failed", reason=str(error))
        else:
            log.info("routes_reloaded")


@asynccontextmanager
async def open_gateway(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """Open a gateway, its connections and its background tasks; close them when the block ends."""
    matcher = file.load(settings.routes_file, settings.origins)
    async with AsyncExitStack() as stack:
        checks = HealthChecks("gateway")
        process = await stack.enter_async_context(open_process(settings, checks))
        client = AiohttpClient(settings.proxy.connections)
        stack.push_async_callback(client.close)
        revocations = process.get(Revocations)
        streams = OpenStreams(revocations)
        url = settings.redis_url
        limiter = Limiter(url.get_secret_value() if url else None, settings.limits.gateways)
        tokens = InternalTokens(process.get(Signer))
        tenants = TenantRule(settings.public_url)
        access_tokens = process.get(AccessTokenVerifier)
        admission = Admission(
            Identity(access_tokens, revocations, process.get(Clients).to("auth")),
            tenants,
            Tiers(settings.limit_scale, settings.limits.anonymous),
            limiter,
        )
        scheme = urlsplit(settings.public_url).scheme
        replicas = {name: Replicas(name, origins) for name, origins in settings.origins.items()}
        checks.required |= readiness_checks(access_tokens, revocations)
        checks.others |= detail_checks(limiter, client, settings.origins, revocations)
        access_log = AccessLog(settings.log)
        stack.callback(access_log.flush)
        edge = Edge(
            matcher=matcher,
            arrival=Arrival(settings.proxy.trusted, settings.telemetry.sample_ratio),
            admission=admission,
            tenants=tenants,
            tokens=tokens,
            forwarder=Forwarder(client, replicas, scheme),
            streams=streams,
            handshakes=Handshakes(admission, tokens, streams, open_socket, replicas, scheme),
            cors=Cors(settings.cors.origins),
            pages=Portal(checks, settings.shown),
            access_log=access_log,
            spans=_spans(settings),
            secure=scheme == "https",
        )
        if limiter.connection is not None:
            process.run("limits", limiter.connection.run)
        await stack.enter_async_context(supervise(process.tasks))
        yield Gateway(edge, checks, streams, limiter, settings)


def _spans(settings: GatewaySettings) -> Spans | None:
    """Spans cost time on each request, so they are created only if an exporter is configured."""
    telemetry = settings.telemetry
    return Spans(traces.configure(telemetry, "gateway")) if telemetry.otlp_endpoint is not None else None


async def serve(settings: GatewaySettings, port: int | None = None) -> None:
    """Serve the public port and the admin port until SIGTERM or Ctrl-C, then let open requests finish.

    SIGHUP reloads the route table.
    """
    host = settings.server.host
    public = bound_sockets(host, settings.port if port is None else port, both_loopbacks=settings.development)
    inner = bound_sockets(settings.admin.host, settings.admin.port, both_loopbacks=settings.development)
    async with open_gateway(settings) as gateway:
        gc.freeze()  # what is loaded now lives until the end: exclude it from garbage collection
        admin = EdgeServer(admin_application(gateway.checks, settings.shown), drain_s=2)
        server = EdgeServer(gateway.edge, settings.server.drain_s, gateway.drain)
        loop = asyncio.get_running_loop()
        for stopping in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stopping, server.stop)
        loop.add_signal_handler(signal.SIGHUP, gateway.reload_routes)
        running = asyncio.create_task(admin.serve(inner))
        log.info("gateway_started", host=host, port=public[0].getsockname()[1], admin_port=inner[0].getsockname()[1])
        try:
            await server.serve(public)
        finally:
            admin.stop()
            await running
