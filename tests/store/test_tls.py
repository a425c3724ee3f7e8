"""TLS to PostgreSQL as the URL asks for it, against a server with a certificate of its own authority."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import trustme

from daemon.contracts import ConfigurationError
from daemon.store.database import Database
from devstack.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start(durable=False) as postgres:
        certificate = authority.issue_cert("127.0.0.1")
        owner = postgres.data_folder.stat()
        for name, pem in (
            ("server.crt", certificate.cert_chain_pems[0]),
            ("server.key", certificate.private_key_pem),
        ):
            path = postgres.data_folder / name
            pem.write_to_path(path)
            os.chown(path, owner.st_uid, owner.st_gid)
            path.chmod(0o600)
        asyncio.run(_turn_on_tls(postgres))
        postgres.restart()
        yield postgres


async def _turn_on_tls(postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(postgres.url())
    await connection.execute("alter system set ssl = on")
    await connection.close()


async def is_encrypted(url: str) -> bool:
    async with Database(url) as database:
        return bool(await database.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))


def ca_file(authority: trustme.CA, folder: Path) -> Path:
    path = folder / "ca.crt"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.mark.parametrize(("mode", "encrypted"), [("disable", False), ("prefer", True), ("require", True)])
async def test_a_mode_without_an_authority_does_what_it_says(
    server: EmbeddedPostgres, mode: str, encrypted: bool
) -> None:
    assert await is_encrypted(f"{server.url()}?sslmode={mode}") is encrypted


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
async def test_a_trusted_certificate_is_accepted(
    server: EmbeddedPostgres, authority: trustme.CA, tmp_path: Path, mode: str
) -> None:
    assert await is_encrypted(f"{server.url()}?sslmode={mode}&sslrootcert={ca_file(authority, tmp_path)}")


async def test_a_certificate_of_another_authority_is_an_operators_mistake(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = f"{server.url()}?sslmode=verify-full&sslrootcert={ca_file(trustme.CA(), tmp_path)}"

    with pytest.raises(ConfigurationError, match=r"not trusted.*sslrootcert in DATABASE_URL"):
        await is_encrypted(url)


async def test_a_certificate_for_another_host_is_refused_by_verify_full_alone(
    server: EmbeddedPostgres, authority: trustme.CA, tmp_path: Path
) -> None:
    elsewhere = server.url().replace("127.0.0.1", "localhost")
    root = ca_file(authority, tmp_path)

    assert await is_encrypted(f"{elsewhere}?sslmode=verify-ca&sslrootcert={root}")
    with pytest.raises(ConfigurationError, match="not trusted"):
        await is_encrypted(f"{elsewhere}?sslmode=verify-full&sslrootcert={root}")
