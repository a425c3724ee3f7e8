"""What an embedded PostgreSQL serves, how it restarts, and who may run it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from devstack.postgres import EmbeddedPostgres, EmbeddedPostgresError, StopMode, find_binaries
from devstack.postgres_binaries import BINARIES_VARIABLE
from devstack.postgres_cluster import Cluster, free_ports, unprivileged_identity
from tests.devstack.embedded_postgres import REPOSITORY, open_folder, serving_process, value_of, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """Yield a server that tests may restart, but not break."""
    with EmbeddedPostgres.start(durable=False) as started:
        yield started


def python_for(identity: dict[str, Any]) -> str:
    """Return a Python that this project supports and a user of this identity may run; skip without one."""
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    for candidate in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError):
            if subprocess.run([candidate, "-c", probe], cwd="/", check=False, **identity).returncode == 0:
                return candidate
    pytest.skip("no Python that an ordinary user may run")


def test_a_started_server_answers_a_query(server: EmbeddedPostgres) -> None:
    url = server.url()

    answer = value_of(url, "select 1")

    assert answer == 1


def test_a_server_is_at_least_postgresql_15_in_utf8_and_utc(server: EmbeddedPostgres) -> None:
    query = """
        select array[(current_setting('server_version_num')::int >= 150000)::text, current_setting('server_encoding'),
                     current_setting('lc_messages'), current_setting('TimeZone')]
    """

    values = value_of(server.url(), query)

    assert values == ["true", "UTF8", "C.UTF-8", "UTC"]


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    url = server.url(password="wrong")

    with pytest.raises(asyncpg.InvalidPasswordError):
        value_of(url, "select 1")


def test_a_url_carries_names_and_passwords_with_special_characters(server: EmbeddedPostgres) -> None:
    value_of(server.url(), """create role "a/b@c" login password 'p:/?#%'""")
    value_of(server.url(), 'create database "d?e" owner "a/b@c"')
    url = server.url(database="d?e", user="a/b@c", password="p:/?#%")

    identity = value_of(url, "select current_user || ' in ' || current_database()")

    assert identity == "a/b@c in d?e"


def test_a_server_listens_on_the_loopback_address_alone(server: EmbeddedPostgres) -> None:
    postmaster = psutil.Process(server.postmaster_pid)

    listening = [c.laddr for c in postmaster.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]

    assert listening == [("127.0.0.1", server.port)]


def test_a_server_never_runs_as_root(server: EmbeddedPostgres) -> None:
    uids = psutil.Process(server.postmaster_pid).uids()

    assert 0 not in uids


def test_a_server_is_reached_through_its_unix_socket(server: EmbeddedPostgres) -> None:
    url = f"postgresql:///postgres?host={server.folder / 'sockets'}&port={server.port}&user=postgres"

    address = value_of(f"{url}&password={server.password}", "select inet_server_addr()")

    assert address is None


def test_too_long_a_path_for_a_unix_socket_leaves_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder() as folder:
        deep = folder / ("x" * 90)
        deep.mkdir(mode=0o755)
        monkeypatch.setattr(tempfile, "tempdir", str(deep))

        with EmbeddedPostgres.start(durable=False) as server:
            answer = value_of(server.url(), "select 1")

            assert answer == 1
            assert server.folder.parent == deep


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_port_and_data(server: EmbeddedPostgres, mode: StopMode) -> None:
    value_of(server.url(), f"create table kept_{mode} as select 42 as answer")
    value_of(server.url(), "checkpoint")
    before = (server.port, server.postmaster_pid)

    server.restart(mode)

    assert server.port == before[0]
    assert server.postmaster_pid != before[1]
    assert value_of(server.url(), f"select answer from kept_{mode}") == 42
    assert f"received {mode} shutdown request" in server.log_tail()


def test_two_servers_at_once_have_ports_and_data_of_their_own(server: EmbeddedPostgres) -> None:
    value_of(server.url(), "create table only_in_the_first ()")

    with EmbeddedPostgres.start(durable=False) as other:
        found = value_of(other.url(), "select to_regclass('only_in_the_first')")

        assert found is None
        assert other.port != server.port


def test_a_taken_port_is_passed_over() -> None:
    with open_folder() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
        cluster = Cluster(Path(tempfile.mkdtemp(dir=folder)), find_binaries(), unprivileged_identity())
        cluster.create("secret", {})
        free = next(free_ports())

        cluster.start([taken.getsockname()[1], free])

        assert cluster.port == free
        assert value_of(f"postgresql://postgres:secret@127.0.0.1:{free}/postgres", "select 1") == 1
        cluster.remove()


def test_a_setting_reaches_the_server() -> None:
    settings = {"max_connections": "17", "search_path": '"it\'s", public', "application_name": "back\\slash"}

    with EmbeddedPostgres.start(durable=False, settings=settings) as server:
        query = "select json_object_agg(name, setting)::text from pg_settings where source = 'configuration file'"
        values = json.loads(value_of(server.url(), query))

        assert {name: values.get(name) for name in settings} == settings


@pytest.mark.parametrize(("durable", "expected"), [(True, "on"), (False, "off")])
def test_only_a_durable_server_syncs_to_disk(*, durable: bool, expected: str) -> None:
    query = "select array_agg(distinct setting) from pg_settings where name in ('fsync', 'full_page_writes')"

    with EmbeddedPostgres.start(durable=durable) as server:
        values = value_of(server.url(), query)

        assert values == [expected]


def test_a_stopped_server_may_be_stopped_again_but_not_restarted() -> None:
    server = EmbeddedPostgres.start(durable=False)
    server.stop("immediate")

    server.stop()

    with pytest.raises(EmbeddedPostgresError, match="has been stopped"):
        server.restart()


@needs_root
def test_root_may_use_binaries_that_the_servers_user_cannot_read(tmp_path: Path) -> None:
    private = tmp_path / "private"
    shutil.copytree(find_binaries().parent, private, symlinks=True)
    private.chmod(0o700)

    with EmbeddedPostgres.start(durable=False, binaries=private / "bin") as server:
        answer = value_of(server.url(), "select 1")

        assert answer == 1
        assert (server.folder / "installation").is_dir()


@needs_root
def test_an_ordinary_user_may_start_a_server() -> None:
    nobody = pwd.getpwnam("nobody")
    identity: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    python = python_for(identity)
    with open_folder() as folder:
        shutil.copytree(REPOSITORY / "devstack", folder / "devstack", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(find_binaries().parent, folder / "installation", symlinks=True)
        environment = {"PATH": os.defpath, BINARIES_VARIABLE: str(folder / "installation" / "bin")}

        with serving_process(python=python, cwd=folder, env=environment, **identity) as serving:
            answer = value_of(serving.url, "select 1")

            assert answer == 1
            assert {process.uids().real for process in serving.traces.processes} == {nobody.pw_uid}
            serving.process.kill()
            wait_until(serving.traces.are_gone)
