"""Builds the gateway from its settings and serves it."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import structlog

from gateway.admin.app import admin_application, replica_checks
from gateway.edge.access_log import AccessLog
from gateway.edge.arrival import Arrival
from gateway.edge.handshake import Handshakes
from gateway.edge.pipeline import Edge
from gateway.edge.server import EdgeServer, bound_sockets
from gateway.edge.tracing import Spans
from gateway.policy.admission import Admission
from gateway.policy.cors import Cors
from gateway.policy.identity import ClientAddresses, Identity, InternalTokens
from gateway.policy.limits import Tiers
from gateway.policy.proofs import FleetUsedProofs
from gateway.policy.streams import OpenStreams
from gateway.policy.tenant import TenantRule
from gateway.portal.app import Entrance, Portal
from gateway.portal.merge import Document
from gateway.portal.openapi import SOURCE, Collector, Published, ReadDocument
from gateway.portal.protected_resource import challenge_parameter
from gateway.proxy.aiohttp_client import AiohttpClient
from gateway.proxy.forward import Forwarder
from gateway.proxy.replicas import Replicas, prober
from gateway.proxy.websocket_client import open_socket
from gateway.routes import file
from gateway.routes.matching import Matcher
from gateway.settings import GatewaySettings
from shared.background import supervise
from shared.clients import Clients
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.revocations import Revocations
from shared.identity.tokens import Signer
from shared.limits import Limiter, PipelinedConnection
from shared.process import Process, open_process
from shared.telemetry import traces
from shared.telemetry.request_log import RequestLog
from shared.web.health import HealthChecks

log = structlog.get_logger("gateway")


@dataclass
class Gateway:
    """A running gateway: the application, and the state that shutdown, reload and the admin port need."""

    edge: Edge
    documents: Collector
    checks: HealthChecks
    streams: OpenStreams
    limiter: Limiter
    settings: GatewaySettings

    def drain(self) -> None:
        """Report not ready, and end open streams so that their clients reconnect to another gateway."""
        self.checks.drain()
        self.streams.close()

    def reload_routes(self) -> None:
        """Reload the route file. An invalid one is logged and changes nothing."""
        try:
            matcher = file.load(self.settings.routes_file, self.settings.origins)
        except file.TableInvalid as error:
            log.error("routes_reload_failed", reason=str(error))
        else:
            self.edge.matcher = matcher
            self.documents.use(matcher)
            log.info("routes_reloaded")


class ReplicaClients(Clients):
    """Calls the first replica of each service that has no URL of a load balancer."""


@asynccontextmanager
async def open_gateway(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """Open a gateway, its connections and its background tasks; close them when the block ends."""
    matcher = file.load(settings.routes_file, settings.origins)
    checks, request_log = HealthChecks("gateway"), RequestLog(settings.log, "gateway")
    async with open_process(settings, checks) as process:
        _open_resources(process, settings)
        published = Published()
        entrance = Entrance(docs=settings.docs_shown, url=settings.public_url, development=settings.development)
        portal = Portal(checks, settings.shown, published, entrance)
        documents = _collect_documents(process, settings, matcher, portal.document, published)
        edge = _edge(process, settings, matcher, AccessLog(request_log), portal)
        try:
            async with supervise(process.tasks):
                yield Gateway(edge, documents, checks, process.get(OpenStreams), process.get(Limiter), settings)
        finally:
            request_log.flush()


def _open_resources(process: Process, settings: GatewaySettings) -> None:
    client = AiohttpClient(settings.proxy.connections)
    process.add_closing(client, client.close)
    process.health.others |= replica_checks(client, settings.origins)
    url = settings.redis_url
    limiter = process.add(Limiter(url.get_secret_value() if url else None, settings.limits.gateways))
    if limiter.connection is not None:
        process.run("limits", limiter.connection.run)
        process.health.others["cache"] = partial(_ping, limiter.connection)
    process.add(OpenStreams(process.get(Revocations)))
    first = {name: urls[0] for name, urls in settings.origins.items() if name not in settings.services}
    replicas = ReplicaClients(first, process.get(Signer), timeout_s=settings.services_timeout_s)
    process.add_closing(replicas, replicas.close)


async def _ping(cache: PipelinedConnection) -> str:
    await cache.call("PING")
    return "reachable"


def _collect_documents(
    process: Process, settings: GatewaySettings, matcher: Matcher, own: Document, published: Published
) -> Collector:
    """Merge the OpenAPI documents of all services in the background."""
    clients, replicas = process.get(Clients), process.get(ReplicaClients)
    sources: dict[str, ReadDocument] = {
        name: partial((clients if name in settings.services else replicas).to(name).read, SOURCE, Document)
        for name in settings.origins
    }
    public_url, every_s = settings.public_url, settings.portal.refresh_s
    collector = Collector(published, own, sources, matcher, public_url=public_url, every_s=every_s)
    process.loop(collector.loop)
    return collector


def _edge(process: Process, settings: GatewaySettings, matcher: Matcher, access_log: AccessLog, portal: Portal) -> Edge:
    tenants = TenantRule(settings.public_url)
    identity = Identity(
        process.get(AccessTokenVerifier),
        process.get(Revocations),
        process.get(Clients).to("auth"),
        FleetUsedProofs(process.get(Limiter).connection),
        tenants.origin,
    )
    admission = Admission(
        identity,
        tenants,
        Tiers(settings.limit_scale, settings.limits.anonymous),
        process.get(Limiter),
    )
    tokens, streams = InternalTokens(process.get(Signer)), process.get(OpenStreams)
    scheme = urlsplit(settings.public_url).scheme
    probe = prober(process.get(AiohttpClient))
    replicas = {name: Replicas(name, origins, probe) for name, origins in settings.origins.items()}
    return Edge(
        matcher=matcher,
        arrival=Arrival(settings.proxy.trusted, settings.telemetry.sample_ratio),
        admission=admission,
        tenants=tenants,
        tokens=tokens,
        forwarder=Forwarder(process.get(AiohttpClient), replicas, scheme, ClientAddresses(process.get(Signer)).header),
        streams=streams,
        handshakes=Handshakes(admission, tokens, streams, open_socket, replicas, scheme),
        cors=Cors(settings.cors.origins),
        pages=portal,
        access_log=access_log,
        spans=_spans(settings),
        secure=scheme == "https",
        challenge=challenge_parameter(settings.public_url),
    )


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
