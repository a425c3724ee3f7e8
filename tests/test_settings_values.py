"""What the text of a URL or a key must look like."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from daemon.settings_values import (
    check_database_url,
    check_service_role_key,
    check_supabase_url,
    check_upstream_url,
    database_passwords,
    listen_address,
)

UPSTREAM = "https://financialmodelingprep.com/stable"
NO_AUTHORITY = Path(__file__).with_name("__init__.py")
AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUd5tCVvtU+2mnFa2Z8okpAKXZn4YwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIzMjIzNDA5WhgPMjEy
NjEwMzAyMjM0MDlaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEDnAnruZ5zcWxtSHYiE7JQGRJ7ZMUVNzWfFEgJDKC
YwTauw4edUYpzAy9hrVMRwQiwTI6D7ES6gkq+XdH3T9b2aNTMFEwHQYDVR0OBBYE
FEoYY0TtPLmvD5EP7VBz/ijaIvm8MB8GA1UdIwQYMBaAFEoYY0TtPLmvD5EP7VBz
/ijaIvm8MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgcxkVajjz
vjxnLZu6MpyfqCcwO4l3WmsEY5BdJEdSZVkCIQCQhy6PgvvzwfhKADAGnRkdH1De
smylZJ+tdi6OdweVMg==
-----END CERTIFICATE-----
"""


def token(**claims: object) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "signature"])


@pytest.fixture(autouse=True)
def no_authority_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the certificate authority that the person who runs the tests may have."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://user@localhost/db",
        "postgresql://user:p%40ss@[::1]:5432/db",
        "postgresql://user:pa:ss@one:5432,two:5433/db",
        "postgresql:///db?host=/run/postgresql&application_name=refreshd",
        "postgresql://user@h/db?sslmode=disable",
        "postgresql://user@h/db?sslmode=prefer",
        "postgresql://user@h/db?sslmode=require",
    ],
)
def test_a_database_url_is_accepted(url: str) -> None:
    assert check_database_url(url) == url


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_an_authority_may_be_named(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "ca.crt"
    path.write_text(AUTHORITY)
    url = f"postgresql://user@h/db?sslmode={mode}&sslrootcert={path}"

    assert check_database_url(url) == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://user@h/db", "must start with postgresql://"),
        ("user@h/db", "must start with postgresql://"),
        ("postgresql://user:pa ss@h/db", "printable ASCII"),
        ("postgresql://user:[YOUR-PASSWORD]@h/db", "percent-encode"),
        ("postgresql://user:pa@ss@h/db", "percent-encode"),
        ("postgresql://user:pa#ss@h/db", "percent-encode"),
        ("postgresql://user:pa/ss@h/db", "percent-encode"),
        ("postgresql://user:12/ss@h/db", "percent-encode"),
        ("postgresql://user:pa?ss@h/db", "percent-encode"),
        ("postgresql://user@h:port/db", "percent-encode"),
        ("postgresql://user@h/db?sslmode", "parameters after"),
        ("postgresql://user@h/db?pgbouncer=true", "parameter pgbouncer"),
        ("postgresql://user@h/db?sslmode=yes", "unknown sslmode"),
        ("postgresql://user@h/db?sslmode=verify-full", "add &sslrootcert="),
        ("postgresql://user@h/db?sslmode=verify-ca&sslrootcert=/no/ca.crt", "sslrootcert=/no/ca.crt, which cannot"),
        ("postgresql://user@h/db?sslmode=require&sslcert=/no/client.crt", "sslcert=/no/client.crt, which cannot"),
        (f"postgresql://user@h/db?sslmode=require&sslrootcert={NO_AUTHORITY}", "holds no PEM certificate"),
    ],
)
def test_a_database_url_is_refused_with_the_reason(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("?", r"\?")):
        check_database_url(url)


def test_the_authority_may_come_from_the_variable_that_the_driver_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", "/no/ca.crt")

    with pytest.raises(ValueError, match="sslrootcert=/no/ca"):
        check_database_url("postgresql://user@h/db?sslmode=verify-full")


def test_a_password_is_known_as_written_and_as_meant() -> None:
    assert database_passwords("postgresql://user:p%40ss@h/db") == ("p%40ss", "p@ss")
    assert database_passwords("postgresql://user@h/db") == ()


@pytest.mark.parametrize("key", ["sb_secret_abc", token(role="service_role", exp=1)])
def test_a_key_of_the_service_role_is_accepted(key: str) -> None:
    assert check_service_role_key(key) == key


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (token(role="anon"), "is a JWT with the role 'anon', not service_role"),
        (token(role="authenticated"), "not service_role"),
        (token(role=["service_role"]), "neither a secret key nor a JWT"),
        (token(), "neither a secret key nor a JWT"),
        ("sb_publishable_abc", "is a publishable key"),
        ("a.b.c", "neither a secret key nor a JWT"),
        ("a.W10.c", "neither a secret key nor a JWT"),
        ("key", "neither a secret key nor a JWT"),
        ("sb_secret_a\r\nHost: b", "without spaces"),
    ],
)
def test_another_key_is_refused_with_the_reason(key: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_service_role_key(key)


@pytest.mark.parametrize(
    "url", ["https://abc.supabase.co/", "http://127.0.0.1:4000", "http://localhost:54321", "http://kong:8000"]
)
def test_the_url_of_a_project_loses_its_trailing_slash(url: str) -> None:
    assert check_supabase_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("abc.supabase.co", "must be a URL"),
        ("https://", "must be a URL"),
        ("https://user:pass@abc.supabase.co", "without user"),
        ("https://abc.supabase.co?apikey=x", "without user"),
        ("https://abc.supabase.co:port", "must be a URL"),
        ("https://[abc", "must be a URL"),
        ("https://abc.supabase.co/rest/v1", "must end after the host name"),
        ("http://abc.supabase.co", "must start with https://"),
        ("http://8.8.8.8", "must start with https://"),
    ],
)
def test_the_url_of_a_project_is_refused_with_the_reason(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_supabase_url(url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://financialmodelingprep.com/stable", "must start with https://"),
        ("https://127.0.0.1/stable", "local address"),
        ("https://[::1]/stable", "local address"),
        ("https://10.0.0.1/stable", "local address"),
        ("https://169.254.169.254/latest", "local address"),
        ("https://localhost/stable", "local address"),
        ("https://metadata.google.internal/x", "local address"),
        ("http://127.0.0.1:8000", "must start with https://"),
        ("file:///etc/passwd", "must be a URL"),
        (f"{UPSTREAM}?apikey=x", "without user"),
    ],
)
def test_an_upstream_that_is_no_public_https_host_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_upstream_url(url, allow_loopback=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/stable", "http://[::1]:8000", "http://localhost", UPSTREAM])
def test_loopback_is_accepted_where_it_is_permitted(url: str) -> None:
    assert check_upstream_url(f"{url}/", allow_loopback=True) == url


@pytest.mark.parametrize("url", ["http://10.0.0.1/stable", "https://10.0.0.1/stable", "http://example.com"])
def test_permitting_loopback_permits_nothing_else(url: str) -> None:
    with pytest.raises(ValueError, match=r"https|local address"):
        check_upstream_url(url, allow_loopback=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8797", ("127.0.0.1", 8797)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("OFF", None),
    ],
)
def test_an_address_to_listen_on_is_a_host_and_a_port_or_off(text: str, expected: tuple[str, int] | None) -> None:
    assert listen_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8797",
        ":8797",
        "127.0.0.1",
        "127.0.0.1:http",
        "::1:80",
        "[::1]",
        "a b:1",
        "h:65536",
        "a..b:1",
        "[a]:1",
        "[127.0.0.1]:1",
        "x" * 70 + ":1",
        "h:-1",
        "h:\u0661",
    ],
)
def test_an_address_that_is_none_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be HOST:PORT|ports end at"):
        listen_address(text)
