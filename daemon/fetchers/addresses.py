"""Where requests may go: the base URL that an operator may set, and the addresses that its host may resolve to.

Two kinds of host: one of the allow-list, over https and only to public addresses; or, where that is permitted, this
machine itself, for a simulated upstream.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Collection

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from daemon.contracts import ConfigurationError

_VARIABLE = "REFRESHD_UPSTREAM_URL"
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", re.IGNORECASE)
"""No user, query, fragment, percent sign, backslash or white space: nothing that two parsers read in two ways."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def check_base_url(base_url: str, *, allowed_hosts: Collection[str], allow_loopback: bool) -> URL:
    """Return ``base_url`` as the URL that requests are built on.

    Raises:
        ConfigurationError: Where it is not a plain https URL of an allowed host. The message never repeats the URL,
            which may hold a password.
    """
    url = _parsed(base_url)
    host = url.host or ""
    if allow_loopback and is_loopback(host):
        return url
    if host not in allowed_hosts or not _may_be_public(host):
        raise ConfigurationError(
            f"{_VARIABLE} must name one of these hosts: {', '.join(allowed_hosts)}; "
            "loopback is permitted by REFRESHD_ALLOW_LOOPBACK_UPSTREAM=true, for a simulated upstream"
        )
    if url.scheme != "https":
        raise ConfigurationError(f"{_VARIABLE} must start with https://, or the key is sent in the clear")
    return url


def is_loopback(host: str) -> bool:
    """Return whether ``host``, a name or an address, is this machine itself."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_public(address: str) -> bool:
    """Return whether ``address`` is on the public internet, also where it only wraps an IPv4 address."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = _unwrapped(parsed)
    return parsed is not None and parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


class CheckedResolver(AbstractResolver):
    """Resolves names, and refuses those of which any address is not where it should be.

    Args:
        inner: What resolves.
    """

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``: all of them loopback for ``localhost``, all of them public otherwise.

        Raises:
            OSError: Where the name does not resolve, or resolves to anything else.
        """
        found = await self._inner.resolve(host, port, family)
        permitted = is_loopback if is_loopback(host) else is_public
        if not all(permitted(entry["host"]) for entry in found):
            raise OSError(errno.EACCES, "the name resolves to an address that is not permitted")
        return found

    async def close(self) -> None:
        """Close what resolves."""
        await self._inner.close()


def _parsed(base_url: str) -> URL:
    try:
        if _PLAIN_URL.fullmatch(base_url):
            return URL(base_url)
    except ValueError:
        pass
    raise ConfigurationError(
        f"{_VARIABLE} cannot be read as https://HOST/PATH without user, password, parameters or fragment"
    )


def _may_be_public(host: str) -> bool:
    return _address(host) is None or is_public(host)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _unwrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
