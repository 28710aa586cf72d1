"""The ports of a running fleet: chosen once, checked before anything starts, named with their holder when taken."""

import errno
import socket
from collections.abc import Collection, Iterable, Mapping

import psutil

from shared.dev.fleet import FleetService
from shared.dev.servers.server import HOST, free_port, free_ports


class PortTaken(Exception):
    """Ports that the fleet needs are held by somebody; the message says which, and by whom."""


class NoSuchListener(Exception):
    """A port was chosen for what the fleet does not have; the message lists what it has."""


def chosen_ports(
    services: Iterable[FleetService], *, free: bool = False, chosen: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The port of each listener by name: the fleet's list, what was `chosen` instead, or free ones for all.

    `gateway-admin` is the gateway's inner one; `mail` and `smtp` are the mail catcher's. Raises NoSuchListener.
    """
    listed = {"mail": 8025, "smtp": 2525}
    for service in services:
        listed[service.name] = service.port
        if service.admin_port is not None:
            listed[f"{service.name}-admin"] = service.admin_port
    if unknown := set(chosen or {}) - set(listed):
        raise NoSuchListener(
            f"There is no listener {', '.join(sorted(unknown))}; PORT takes {', '.join(sorted(listed))}."
        )
    if free:
        listed = dict(zip(listed, free_ports(len(listed)), strict=True))
    return {**listed, **(chosen or {})}


def check_free(ports: Mapping[str, int]) -> None:
    """Raises PortTaken with every port that is not free, a line each."""
    taken = [_sentence(name, port) for name, port in sorted(ports.items()) if not is_free(port)]
    if taken:
        raise PortTaken("\n".join(taken))


def is_free(port: int) -> bool:
    """Whether a server could listen there now; what only lingers in TIME_WAIT does not count.

    A listener on ::1 alone (many a web tool's) takes the port, too: it would get what clients send to `localhost`.
    """
    return _bindable(socket.AF_INET, HOST, port) and (not socket.has_ipv6 or _bindable(socket.AF_INET6, "::1", port))


def _bindable(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # without IPv6 on this machine nobody listens there
    return True


def holder(port: int) -> str | None:
    """Who listens on the port, such as `python (pid 4711)`; None where the system does not tell."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS tells root alone
        return None
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return None
    return None


def _sentence(name: str, port: int) -> str:
    by = holder(port) or "a process of another user"
    return f"Port {port} ({name}) is used by {by}: stop it, or use another port: make up PORT={name}={free_port()}"


def needed(ports: Mapping[str, int], services: Iterable[FleetService], without: Collection[str] = ()) -> dict[str, int]:
    """The ports that these services listen on, except for those that are left out."""
    names: set[str] = set()
    for service in services:
        names |= {"mail", "smtp"} if service.mail else set()
        names |= set() if service.name in without else {service.name, f"{service.name}-admin"}
    return {name: port for name, port in ports.items() if name in names}
