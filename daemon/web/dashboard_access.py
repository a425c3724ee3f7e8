"""Who may see the dashboard: whoever sits at this machine, or whoever has the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets

from aiohttp import web

COOKIE = "refreshd_dashboard"
COOKIE_SECONDS = 30 * 86_400
FORWARDING_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


def required_token(host: str, configured: str) -> str | None:
    """Return the token that is needed where the server listens on ``host``; None where none is.

    Off loopback there is always one: where none is configured, it is one that nobody knows.
    """
    if configured:
        return configured
    return None if _is_loopback(host) else secrets.token_urlsafe(32)


class Access:
    """Admits or refuses.

    Without a token it admits requests that come from this machine, name it in ``Host`` and were forwarded by nobody: a
    page of another origin whose name was made to resolve to a loopback address is refused, and so is everybody behind
    a proxy on this machine.

    Args:
        token: What has to be shown; None admits this machine alone.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._cookie = "" if token is None else hmac.digest(token.encode(), COOKIE.encode(), hashlib.sha256).hex()
        """What the browser keeps in place of the token."""

    def admits(self, request: web.Request) -> bool:
        """Return whether the request may be answered."""
        if self._token is None:
            return _is_local(request)
        return self.is_token(_bearer(request)) or _same(request.cookies.get(COOKIE, ""), self._cookie)

    def is_token(self, text: str) -> bool:
        """Return whether ``text`` is the token, in a time that tells nothing about it."""
        return self._token is not None and _same(text, self._token)

    def remember(self, response: web.StreamResponse, *, secure: bool) -> None:
        """Have the browser show from now on that it had the token."""
        response.set_cookie(
            COOKIE, self._cookie, max_age=COOKIE_SECONDS, path="/", httponly=True, samesite="Strict", secure=secure
        )

    def refusal(self) -> tuple[int, str]:
        """Return the status and the words for whoever is refused."""
        if self._token is None:
            return 403, (
                "The dashboard is for this machine alone: open it here as http://localhost:PORT/, or through a tunnel"
                " (ssh -L). For everybody else the operator sets a token.\n"
            )
        return 401, (
            "The dashboard needs its token: open /?token=... once, or send Authorization: Bearer ...\n"
            "If you have just followed a link that had it, load this page again.\n"
        )


def _same(text: str, wanted: str) -> bool:
    return hmac.compare_digest(text.encode(errors="surrogateescape"), wanted.encode())


def _bearer(request: web.Request) -> str:
    values = request.headers.getall("Authorization", [])
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_local(request: web.Request) -> bool:
    if any(name in request.headers for name in FORWARDING_HEADERS):
        return False
    hosts = request.headers.getall("Host", [])
    return len(hosts) == 1 and _is_loopback(_name(hosts[0])) and _is_loopback(request.remote or "")


def _name(host: str) -> str:
    """Return a ``Host`` without its port, an IPv6 address without its brackets."""
    if host.startswith("["):
        name, bracket, _ = host[1:].partition("]")
        return name if bracket else ""
    return host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
