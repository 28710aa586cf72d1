"""Servers by testcontainers: used only when TEST_CONTAINERS=1 and an engine answers."""

from collections.abc import Callable
from dataclasses import dataclass

from docker.errors import DockerException  # type: ignore[import-untyped]  # docker-py ships no types
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

POSTGRES, VALKEY, RABBITMQ = "postgres:18", "valkey/valkey:9", "rabbitmq:4"


def engine_answers() -> bool:
    """Whether a container engine listens where the environment says."""
    try:
        return bool(DockerClient().client.ping())
    except DockerException:
        return False


@dataclass
class Started:
    """A container and how its URL reads once host and port are known."""

    container: DockerContainer
    port: int
    url: Callable[[str, int], str]

    def start(self) -> str:
        """Start it, wait for its word, and say where it is."""
        self.container.start()
        return self.url(self.container.get_container_host_ip(), int(self.container.get_exposed_port(self.port)))

    def stop(self) -> None:
        self.container.stop()


def postgres() -> Started:
    container = DockerContainer(POSTGRES).with_exposed_ports(5432).with_env("POSTGRES_PASSWORD", "for-tests-only")
    # The image starts the server twice: only the second one stays.
    container.waiting_for(LogMessageWaitStrategy("database system is ready to accept connections", times=2))
    return Started(container, 5432, lambda host, port: f"postgresql://postgres:for-tests-only@{host}:{port}")


def valkey(*, bus: bool) -> Started:
    container = DockerContainer(VALKEY).with_exposed_ports(6379)
    if bus:
        container.with_command("valkey-server --appendonly yes --appendfsync always")
    container.waiting_for(LogMessageWaitStrategy("Ready to accept connections"))
    return Started(container, 6379, lambda host, port: f"redis://{host}:{port}/0")


def rabbitmq() -> Started:
    container = DockerContainer(RABBITMQ).with_exposed_ports(5672)
    container.waiting_for(LogMessageWaitStrategy("Server startup complete"))
    return Started(container, 5672, lambda host, port: f"amqp://guest:guest@{host}:{port}/")
