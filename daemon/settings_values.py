"""What the text of a setting must look like, where a type and a bound cannot say it. Knows nothing of the settings.

Every check raises ValueError with what is wrong and what to do, and never repeats a secret: neither the key, nor any
part of a URL that may hold a password. Files are looked at; the network is not.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
import ssl
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from daemon import crash_points
from daemon.tickets import MIN_KEY_BYTES

TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_DATABASE_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@]*)(:\d{1,5})?")
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LISTEN_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_PORT = re.compile(r"\d{1,5}", re.ASCII)
_LAST_PORT = 65_535
_KEY = re.compile(r"[!-~]+")

_MEANT_FOR_OTHER_CLIENTS = frozenset(
    {"channel_binding", "connect_timeout", "connection_limit", "pgbouncer", "pool_timeout", "schema"}
)
"""Parameters that other drivers understand; this one would send them to the server, which refuses the connection."""

_UNREADABLE_URL = (
    "cannot be read as postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
    "replace a placeholder such as [YOUR-PASSWORD], and percent-encode @ / ? # : [ ] in the password (@ is %40)"
)


def check_database_url(url: str) -> str:
    """Return ``url`` if asyncpg can connect with it, as far as that shows without connecting.

    Raises:
        ValueError: For another scheme, an unreadable authority or query, an unknown ``sslmode``, a certificate file
            that is missing or no PEM, or a verifying mode without a certificate authority.
    """
    parts = _split(url, _UNREADABLE_URL)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValueError("must start with postgresql:// (or postgres://)")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    misplaced = parts.netloc.count("@") > 1 or "@" in parts.path + parts.query or parts.fragment
    if misplaced or not all(map(_DATABASE_HOST.fullmatch, hosts)):
        raise ValueError(_UNREADABLE_URL)
    _check_database_parameters(_parameters(parts.query))
    return url


def _parameters(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:
        raise ValueError("has parameters after ? that cannot be read: write name=value&name=value") from None


def _check_database_parameters(parameters: dict[str, str]) -> None:
    foreign = sorted(_MEANT_FOR_OTHER_CLIENTS & parameters.keys())
    if foreign:
        raise ValueError(f"has the parameter {foreign[0]}, which this driver does not know: remove it")
    mode = parameters.get("sslmode", "prefer")
    if mode not in TLS_MODES:
        raise ValueError(f"has an unknown sslmode: use one of {', '.join(TLS_MODES)}")
    for name in ("sslcert", "sslkey", "sslcrl"):
        if name in parameters:
            _check_readable(name, parameters[name])
    authority = parameters.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    if authority:
        _check_authority(authority)
    elif mode.startswith("verify-") and not os.access(_home_authority(), os.R_OK):
        raise ValueError(f"has sslmode={mode}, which needs a certificate authority: add &sslrootcert=/path/to/ca.crt")


def _check_authority(path: str) -> None:
    _check_readable("sslrootcert", path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"has sslrootcert={path}, which holds no PEM certificate: name the CA's .crt file") from None


def _check_readable(name: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ValueError(f"has {name}={path}, which cannot be read ({error.strerror}): correct the path") from None


def _home_authority() -> Path:
    return Path(os.environ.get("HOME") or "/nonexistent") / ".postgresql" / "root.crt"


def database_passwords(url: str) -> tuple[str, ...]:
    """Return the password in ``url`` as it is written there and as it is meant; nothing where there is none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return ()
    return (password, unquote(password)) if password else ()


def check_listen_address(text: str) -> str:
    """Return ``text`` if it is an address to listen on or ``off``; see :func:`listen_address`."""
    listen_address(text)
    return text.strip()


def listen_address(text: str) -> tuple[str, int] | None:
    """Return the host and the port of ``HOST:PORT``; None for ``off``. Port 0 takes a free one.

    Raises:
        ValueError: For anything else.
    """
    if text.strip().lower() == "off":
        return None
    host, _, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_host = _LISTEN_HOST.fullmatch(host) if bare == host else _is_ipv6(bare)
    if not (is_host and _PORT.fullmatch(port)):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8797 or [::1]:8797, or off")
    if int(port) > _LAST_PORT:
        raise ValueError(f"has the port {port}, and ports end at {_LAST_PORT}")
    return bare, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6  # noqa: PLR2004
    except ValueError:
        return False


def check_service_role_key(key: str) -> str:
    """Return ``key`` if it is a secret key or a ``service_role`` JWT. The signature is not looked at.

    Raises:
        ValueError: For a publishable key, a JWT of another role, and anything else.
    """
    where = "use the secret key (sb_secret_...) or the service_role key from the project's API settings"
    if key.startswith("sb_publishable_"):
        raise ValueError(f"is a publishable key, which cannot read presence: {where}")
    check_key(key)
    if key.startswith("sb_secret_"):
        return key
    role = _role(key)
    if role is None:
        raise ValueError(f"is neither a secret key nor a JWT with a role: {where}")
    if role != "service_role":
        raise ValueError(f"is a JWT with the role {role[:20]!r}, not service_role: {where}")
    return key


def _role(token: str) -> str | None:
    payload = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 - header.payload.signature
    try:
        claims = msgspec.json.decode(base64.b64decode(payload + "==", altchars=b"-_", validate=True))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None
    role = claims.get("role") if isinstance(claims, dict) else None
    return role if isinstance(role, str) else None


def check_key(key: str) -> str:
    """Return ``key`` if it can stand in an HTTP header.

    Raises:
        ValueError: For spaces, line ends and anything else outside printable ASCII.
    """
    if not _KEY.fullmatch(key):
        raise ValueError("must be printable ASCII without spaces: copy the key again")
    return key


def check_ticket_keys(keys: str) -> str:
    """Return the keys, still separated by commas but without the spaces around them.

    Raises:
        ValueError: For one that is shorter than 32 characters, or no printable ASCII.
    """
    parts = [key.strip() for key in keys.split(",")]
    if any(len(key) < MIN_KEY_BYTES for key in parts):
        raise ValueError(f"must hold {MIN_KEY_BYTES} characters or more in each key: openssl rand -hex 32 makes one")
    return ",".join(check_key(key) for key in parts)


def check_supabase_url(url: str) -> str:
    """Return the project's URL without a trailing slash.

    Raises:
        ValueError: For anything but ``https://HOST[:PORT]``; plain http is accepted for local hosts only.
    """
    parts = _split_http(url, "https://<project>.supabase.co")
    if parts.path not in {"", "/"}:
        raise ValueError("must end after the host name, as in https://<project>.supabase.co")
    if parts.scheme != "https" and not _is_local(parts.hostname or ""):
        raise ValueError("must start with https://, since the key travels with every request")
    return url.rstrip("/")


def words(text: str) -> list[str]:
    """Return what stands between commas, without spaces and without what is empty."""
    return [word for part in text.split(",") if (word := part.strip())]


def check_token_url(url: str) -> str:
    """Return the URL of keys or of an issuer, empty where the default holds.

    Raises:
        ValueError: For anything but ``https://HOST/...``; plain http is accepted for local hosts only.
    """
    if url:
        parts = _split_http(url, "https://<project>.supabase.co/auth/v1")
        if parts.scheme != "https" and not _is_local(parts.hostname or ""):
            raise ValueError("must start with https://: whoever answers there decides whose tokens are good")
    return url


def check_networks(networks: str) -> str:
    """Return networks as they are written.

    Raises:
        ValueError: For one that is neither an address nor a network such as 10.0.0.0/8.
    """
    for word in words(networks):
        try:
            ipaddress.ip_network(word)
        except ValueError:
            raise ValueError("must hold addresses and networks such as 127.0.0.1 or 10.0.0.0/8") from None
    return networks


def check_origins(origins: str) -> str:
    """Return origins as they are written.

    Raises:
        ValueError: For one that is neither ``*`` nor ``https://HOST[:PORT]`` without a path.
    """
    for word in words(origins):
        parts = _split(word, "must hold origins such as https://app.example.com, or *") if word != "*" else None
        if parts is not None and (
            parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.fragment
        ):
            raise ValueError("must hold origins such as https://app.example.com, without a slash at the end, or *")
    return origins


def check_heartbeat_url(url: str) -> str:
    """Return the address of the dead man's switch, empty where there is none.

    Raises:
        ValueError: For anything but ``https://HOST...``; plain http is accepted for local hosts only.
    """
    if url:
        problem = "must be a URL such as https://hc-ping.com/<uuid>"
        parts = _split(url, problem)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(problem)
        if parts.scheme != "https" and not _is_local(parts.hostname):
            raise ValueError("must start with https://, since the address itself is a secret")
    return url


def check_upstream_url(url: str, *, allow_loopback: bool) -> str:
    """Return the base URL of the upstream without a trailing slash.

    Args:
        url: What the operator gave.
        allow_loopback: Whether ``http`` and loopback addresses are accepted too: a simulated upstream.

    Raises:
        ValueError: For anything but ``https://HOST[:PORT]/PATH`` outside this machine and its private networks.
    """
    parts = _split_http(url, "https://financialmodelingprep.com/stable")
    host = parts.hostname or ""
    if allow_loopback and _is_loopback(host):
        return url.rstrip("/")
    if parts.scheme != "https":
        raise ValueError("must start with https://, since the key travels with every request")
    if _is_local(host):
        raise ValueError(
            "names a local address, which is refused; "
            "REFRESHD_ALLOW_LOOPBACK_UPSTREAM=true permits loopback, for a simulated upstream"
        )
    return url.rstrip("/")


def check_instance(name: str) -> str:
    """Return ``name`` if it can name this daemon in the database and in logs.

    Raises:
        ValueError: For an empty or long name, and for other characters than letters, digits, dot, underscore, hyphen.
    """
    if not _INSTANCE.fullmatch(name):
        raise ValueError("must be 1 to 64 letters, digits, dots, underscores or hyphens")
    return name


def _split(url: str, problem: str) -> SplitResult:
    if not _KEY.fullmatch(url):
        raise ValueError("must be printable ASCII without spaces: percent-encode everything else")
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError(problem) from None


def _split_http(url: str, example: str) -> SplitResult:
    problem = f"must be a URL such as {example}"
    parts = _split(url, problem)
    try:
        complete = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{problem}, without user, password, ? and #")
    return parts


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def _is_local(host: str) -> bool:
    address = _address(host)
    return not address.is_global if address else "." not in host or host.endswith((".localhost", ".local", ".internal"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_crash_point(text: str) -> str:
    """Return ``text`` if it names a crash point or none."""
    if text:
        crash_points.parse(text)
    return text
