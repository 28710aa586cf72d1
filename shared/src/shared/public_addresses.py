"""Which IP addresses belong to the public internet."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# IANA's registries of special-purpose addresses. Python's own `is_global` depends on its release, and calls some
# multicast and transition addresses global.
_NOT_PUBLIC_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; also a cloud's metadata service
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PUBLIC_6: Final = IPv6Network("2000::/3")  # global unicast: neither mapped, unique local, link-local nor multicast
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: a relay forwards to the IPv4 address inside
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # where a network has IPv6 alone, DNS64 shows IPv4 hosts under this
NEVER: Final[tuple[Network, ...]] = (
    *(IPv4Network(network) for network in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")),
    *(IPv6Network(network) for network in ("::/127", "::ffff:0:0/96", "fe80::/10", "fd00:ec2::/32", "ff00::/8")),
)
"""What no setting makes reachable: this machine, metadata services, multicast, and other ways to write IPv4."""


def is_public(address: Address) -> bool:
    """Whether the address is an ordinary one of the public internet."""
    if isinstance(address, IPv4Address):
        return not is_in(address, _NOT_PUBLIC_4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address.scope_id is None and address in _PUBLIC_6 and not is_in(address, _NOT_PUBLIC_6)


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)  # False for networks of the other version


def overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
