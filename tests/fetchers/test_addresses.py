"""Where requests may go."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from daemon.contracts import ConfigurationError
from daemon.fetchers.addresses import CheckedResolver, check_base_url, is_public

HOSTS = ("financialmodelingprep.com",)

BAD_URLS = [
    "",
    "financialmodelingprep.com/stable",
    "http://financialmodelingprep.com/stable",
    "ftp://financialmodelingprep.com/stable",
    "file:///etc/passwd",
    "gopher://financialmodelingprep.com/",
    "https://",
    "https:///stable",
    "https://evil.example/stable",
    "https://financialmodelingprep.com.evil.example/stable",
    "https://evilfinancialmodelingprep.com/stable",
    "https://www.financialmodelingprep.com/stable",
    "https://financialmodelingprep.com./stable",
    "https://financialmodelingprep.com@evil.example/stable",
    "https://user:hunter2@financialmodelingprep.com/stable",
    "https://financialmodelingprep.com\\@evil.example/stable",
    "https://evil.example\\.financialmodelingprep.com/stable",
    "https://evil.example#financialmodelingprep.com",
    "https://evil.example?financialmodelingprep.com",
    "https://financialmodelingprep.com/stable?apikey=hunter2",
    "https://financialmodelingprep.com/stable#hunter2",
    "https://financialmodelingprep.com /stable",
    "https://financialmodelingprep.com/stable\r\nHost: evil.example",
    "https://financialmodelingprep%2ecom/stable",
    "https://ｆinancialmodelingprep.com/stable",  # noqa: RUF001 - a full-width letter
    "https://financialmodelingprep。com/stable",
    "https://financialmodelingprep.com:99999/stable",
    "https://127.0.0.1/stable",
    "https://localhost/stable",
    "https://[::1]/stable",
    "https://10.0.0.1/stable",
    "https://169.254.169.254/latest/meta-data",
    "https://[::ffff:169.254.169.254]/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://0.0.0.0/",
    "https://[fe80::1%25eth0]/",
]

NOT_LOOPBACK = [
    "http://financialmodelingprep.com/stable",
    "http://evil.example/stable",
    "http://localhost.evil.example/stable",
    "http://127.0.0.1.evil.example/stable",
    "http://127.0.0.1@evil.example/stable",
    "http://10.0.0.1/stable",
    "http://192.168.1.1/stable",
    "http://169.254.169.254/latest/meta-data",
    "http://0.0.0.0/stable",
    "http://2130706433/stable",
    "http://127.1/stable",
    "http://[::ffff:10.0.0.1]/stable",
    "http://[fd00::1]/stable",
    "ftp://127.0.0.1/stable",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_base_url_that_is_no_plain_https_url_of_an_allowed_host_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(url, allowed_hosts=HOSTS, allow_loopback=False)

    assert "REFRESHD_UPSTREAM_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", NOT_LOOPBACK)
def test_permitting_loopback_permits_nothing_else(url: str) -> None:
    with pytest.raises(ConfigurationError):
        check_base_url(url, allowed_hosts=HOSTS, allow_loopback=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "[::1]"])
def test_a_private_address_is_refused_even_where_the_list_has_it(address: str) -> None:
    with pytest.raises(ConfigurationError):
        check_base_url(f"https://{address}/", allowed_hosts=(address.strip("[]"),), allow_loopback=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://financialmodelingprep.com/stable",
        "https://financialmodelingprep.com/stable/",
        "HTTPS://FinancialModelingPrep.com:443/stable",
    ],
)
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_an_allowed_host_over_https_is_accepted(url: str, allow_loopback: bool) -> None:
    checked = check_base_url(url, allowed_hosts=HOSTS, allow_loopback=allow_loopback)

    assert str(checked / "quote") == "https://financialmodelingprep.com/stable/quote"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/stable", "http://localhost/", "https://[::1]:8443/stable"])
def test_loopback_is_accepted_where_it_is_permitted(url: str) -> None:
    assert check_base_url(url, allowed_hosts=HOSTS, allow_loopback=True).scheme in {"http", "https"}


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "2001::1",
    "fe80::1%eth0",
    "fd00::1",
    "ff02::1",
    "not an address",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_on_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


class FixedResolver(AbstractResolver):
    """Resolves every name to the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses."""
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_resolves_to_a_private_address_among_others_is_refused(address: str) -> None:
    with pytest.raises(OSError, match="not permitted"):
        await CheckedResolver(FixedResolver("1.1.1.1", address)).resolve("financialmodelingprep.com", 443)


async def test_a_name_that_resolves_to_public_addresses_is_resolved() -> None:
    found = await CheckedResolver(FixedResolver("1.1.1.1", "2606:4700::1111")).resolve("financialmodelingprep.com")

    assert [entry["host"] for entry in found] == ["1.1.1.1", "2606:4700::1111"]


async def test_localhost_must_be_this_machine() -> None:
    assert await CheckedResolver(FixedResolver("127.0.0.1", "::1")).resolve("localhost")

    with pytest.raises(OSError, match="not permitted"):
        await CheckedResolver(FixedResolver("1.1.1.1")).resolve("localhost")
