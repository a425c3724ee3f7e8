"""Where a request comes from, behind proxies that are trusted to say so."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

MAX_HOPS = 20
IPV6_SITE_BITS = 64


def client_address(peer: str | None, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """Return the address that limits apply to: that of the client, and of an IPv6 client its network of 64 bits.

    Read from the right, ``X-Forwarded-For`` is what each proxy adds: it is followed as long as who added an entry is
    trusted, and anything before that is the client's own invention.

    Args:
        peer: The other end of the connection; None where it has no address (a Unix socket): it is trusted with none.
        forwarded: The values of the request's ``X-Forwarded-For`` headers, in their order.
        proxies: Networks of proxies that are trusted.
    """
    address = _address(peer or "")
    if address is None:
        return "unknown"
    hops = [hop.strip() for value in forwarded for hop in value[-4_096:].split(",")]
    for hop in reversed(hops[-MAX_HOPS:]):
        before = _address(hop)
        if before is None or not any(address in proxy for proxy in proxies):
            break
        address = before
    return _site(address)


def _site(address: Address) -> str:
    if address.version == 4:  # noqa: PLR2004
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_SITE_BITS), strict=False))


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
