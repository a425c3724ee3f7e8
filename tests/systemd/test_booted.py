"""The unit under a real systemd, in a container: what an operator relies on. ``make test-systemd`` runs it, as root."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from devstack.stack import Stack
from tests.fault_proxy import FaultProxy
from tests.needs import require
from tests.systemd.container import Container, booted, require_container
from tests.systemd.installation import install
from tests.systemd.test_unit_files import (
    EXAMPLE,
    FOLDER,
    INSTALLATION,
    NOTIFY_RELOAD_SINCE,
    RELOAD,
    SECRETS,
    UNIT,
    example_settings,
)
from tests.test_end_to_end import COMPLETED, FAST, looks_at, until, until_value, viewer

IS_WANTED = os.environ.get("REFRESHD_TEST_SYSTEMD") == "1"
LAYERS = [Path(path) for path in os.environ.get("REFRESHD_TEST_SYSTEMD_LAYERS", "").split(":") if path]
"""Folders that are laid over the container's files: another systemd, unpacked from its packages."""

NAME = "refreshd.service"
CONFIGURATION = "/etc/refreshd"
CREDENTIALS = f"{CONFIGURATION}/credentials"
DROP_INS = f"/etc/systemd/system/{NAME}.d"
REQUIRED_SECRETS = ("DATABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "FMP_API_KEY")
DYNAMIC_USERS = range(61_184, 65_520)
PRIORITIES = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}

pytestmark = [
    pytest.mark.skipif(not IS_WANTED, reason="boots a systemd, as root: make test-systemd runs it"),
    pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning"),
]


def steps(section: str) -> str:
    """Return the commands of a section of install.md, but for those that open an editor or the network."""
    text = INSTALLATION.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    commands = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return re.sub(r"^(editor |/opt/refreshd/bin/pip ).*\n", "", commands, flags=re.MULTILINE)


class Unit:
    """refreshd.service in a container.

    Args:
        container: Where it is installed.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        self._since = time.time()

    async def clean_up(self) -> None:
        """End the service and forget everything about it."""
        await self.systemctl("kill", "--signal=SIGKILL", NAME, code=None)
        await self.systemctl("stop", NAME)
        await self.systemctl("reset-failed", NAME, code=None)
        for folder in (CONFIGURATION, DROP_INS):
            self.container.remove(folder)
        await self.systemctl("daemon-reload")

    async def systemctl(self, *arguments: str, code: int | None = 0) -> str:
        """Run systemctl and return what it wrote."""
        return (await self.container.run("systemctl", *arguments, code=code)).output

    def configure(self, environment: dict[str, str]) -> None:
        """Write the settings as an operator does: secrets as credentials, everything else into the file."""
        settings = {name: value for name, value in environment.items() if name not in SECRETS}
        settings.pop("REFRESHD_OWNER_DATABASE_URL", None)
        lines = [f"{name}={value}" for name, value in {**example_settings(optional=False), **settings}.items()]
        self.container.write(f"{CONFIGURATION}/refreshd.env", "\n".join(lines) + "\n")
        self.container.path(CREDENTIALS).mkdir(mode=0o700, exist_ok=True)
        for name in SECRETS.keys() & environment.keys():
            self.container.write(f"{CREDENTIALS}/{name}", environment[name] + "\n", mode=0o600)

    async def drop_in(self, name: str, text: str) -> None:
        """Change the unit."""
        self.container.write(f"{DROP_INS}/{name}", text)
        await self.systemctl("daemon-reload")

    async def show(self, name: str) -> str:
        """Return a property of the unit."""
        return (await self.systemctl("show", f"--property={name}", "--value", NAME)).strip()

    async def until_shown(self, name: str, *expected: str) -> str:
        """Wait until a property has one of these values, and return it."""

        async def holds() -> bool:
            return await self.show(name) in expected

        await until(holds, f"{name} is one of {expected}", seconds=30)
        return await self.show(name)

    async def main_pid(self) -> int:
        """Return the daemon's process, as the container numbers it."""
        return int(await self.show("MainPID"))

    async def journal(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what the unit has logged since the test began."""
        query = (f"--unit={NAME}", f"--since=@{self._since:.6f}", "--output=json", *arguments)
        shown = await self.container.run("journalctl", *query)
        return [json.loads(line) for line in shown.output.splitlines()]

    async def events(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the daemon's own log lines since the test began, as data."""
        own = [entry for entry in await self.journal(*arguments) if entry.get("_TRANSPORT") == "stdout"]
        return [json.loads(entry["MESSAGE"]) for entry in own if entry["MESSAGE"].startswith("{")]

    async def until_event(self, name: str, times: int = 1) -> dict[str, Any]:
        """Wait until the daemon has logged an event so often, and return the last of it."""
        found: list[dict[str, Any]] = []

        async def holds() -> bool:
            found[:] = [event for event in await self.events() if event["event"] == name]
            return len(found) >= times

        await until(holds, f"{name} is in the journal", seconds=30)
        return found[-1]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A booted system with refreshd installed and not configured."""
    require_container()
    folder = tmp_path_factory.mktemp("container")
    units = folder / "files" / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    (units / NAME).write_text(UNIT.read_text())
    install(folder / "files")
    with booted(folder, LAYERS) as running:
        yield running


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """What the daemon talks to."""
    async with Stack(latency_seconds=0.02, symbols=["AAPL", "MSFT", "NVDA"]) as running:
        yield running


@pytest.fixture
async def bare_unit(container: Container) -> AsyncIterator[Unit]:
    """The unit without any configuration."""
    unit = Unit(container)
    try:
        yield unit
    finally:
        await unit.clean_up()


@pytest.fixture
async def unit(bare_unit: Unit, stack: Stack) -> Unit:
    """The unit, configured and not started."""
    bare_unit.configure(stack.environment(**FAST))
    return bare_unit


@pytest.fixture
async def active(unit: Unit) -> Unit:
    """The unit, started: systemctl returns when the daemon is ready."""
    await unit.systemctl("start", NAME)
    return unit


@asynccontextmanager
async def port_that_is_closed() -> AsyncIterator[socket.socket]:
    """A port that nobody listens on, and that nobody else can take."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved


async def test_it_is_active_once_it_is_ready_and_shows_how_it_is(active: Unit) -> None:
    events = [event["event"] for event in await active.events()]
    status = await active.systemctl("status", NAME)

    assert await active.show("ActiveState") == "active"
    assert "started" in events
    assert re.search(r'^ +Status: "\S.*"$', status, re.MULTILINE)


async def test_the_whole_way_works_within_the_sandbox(active: Unit, stack: Stack) -> None:
    await active.until_event("realtime_connected")

    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote", "profile"])

        await until_value(stack, COMPLETED, 1)
        await until_value(stack, "select count(*) from profiles", 1)
    assert await active.journal("--priority=warning") == []


async def test_its_metrics_of_the_process_can_be_read_within_the_sandbox(active: Unit) -> None:
    listening = await active.until_event("http_listening")

    async with ClientSession() as client, client.get(f"http://127.0.0.1:{listening['port']}/metrics") as answer:
        metrics = await answer.text()

    assert re.search(r"^process_resident_memory_bytes [1-9]", metrics, re.MULTILINE)
    assert re.search(r"^process_open_fds [1-9]", metrics, re.MULTILINE)


async def test_without_its_database_it_stays_activating_and_becomes_active_when_that_comes(
    unit: Unit, stack: Stack
) -> None:
    async with port_that_is_closed() as reserved:
        port = reserved.getsockname()[1]
        url = stack.daemon_url.replace(f":{stack.postgres.port}/", f":{port}/")
        unit.configure(stack.environment(**FAST, DATABASE_URL=url))
        await unit.systemctl("start", "--no-block", NAME)
        await unit.until_event("part_interrupted")
        state, status = await unit.show("ActiveState"), await unit.show("StatusText")

        async with await asyncio.start_server(FaultProxy(stack.postgres.port).serve, sock=reserved):
            await unit.until_shown("ActiveState", "active")
            await unit.until_event("part_recovered")
            await unit.systemctl("stop", NAME)

    assert state == "activating"
    assert f"127.0.0.1:{port}" in status
    assert await unit.show("NRestarts") == "0"


async def test_a_reload_reads_again_in_the_same_process(active: Unit) -> None:
    pid = await active.main_pid()

    await active.systemctl("reload", NAME)

    await active.until_event("reloaded")
    await active.until_shown("ActiveState", "active")
    assert await active.main_pid() == pid


async def test_with_the_drop_in_a_reload_is_done_when_systemctl_returns(unit: Unit) -> None:
    version = int(re.findall(r"\d+", await unit.systemctl("--version"))[0])
    require(f"systemd {NOTIFY_RELOAD_SINCE}", found=version >= NOTIFY_RELOAD_SINCE, hint=f"the container has {version}")
    await unit.drop_in(RELOAD.name, RELOAD.read_text())
    verified = await unit.container.run("systemd-analyze", "verify", f"/etc/systemd/system/{NAME}")
    await unit.systemctl("start", NAME)

    for times in (1, 2):
        await unit.systemctl("reload", NAME)

        reloaded = [event for event in await unit.events() if event["event"] == "reloaded"]
        assert len(reloaded) == times
    assert await unit.show("ActiveState") == "active"
    assert verified.output + verified.errors == ""


async def test_what_stands_still_is_killed_by_the_watchdog_and_started_again(unit: Unit) -> None:
    await unit.drop_in("watchdog.conf", "[Service]\nWatchdogSec=2\n")
    await unit.systemctl("start", NAME)
    first = await unit.main_pid()

    await unit.systemctl("kill", "--signal=SIGSTOP", NAME)

    await unit.until_shown("NRestarts", "1")
    await unit.until_shown("ActiveState", "active")
    assert await unit.main_pid() not in {0, first}
    messages = [entry["MESSAGE"] for entry in await unit.journal()]
    assert any("Watchdog timeout" in message for message in messages)


async def test_the_watchdog_leaves_a_healthy_daemon_alone(unit: Unit) -> None:
    await unit.drop_in("watchdog.conf", "[Service]\nWatchdogSec=2\n")
    await unit.systemctl("start", NAME)
    first = await unit.show("WatchdogTimestampMonotonic")

    async def has_been_pinged_for_longer_than_the_limit() -> bool:
        return int(await unit.show("WatchdogTimestampMonotonic")) - int(first) > 3_000_000

    await until(has_been_pinged_for_longer_than_the_limit, "signs of life for three seconds")
    assert await unit.show("NRestarts") == "0"


async def test_a_killed_daemon_is_started_again(active: Unit) -> None:
    first = await active.main_pid()

    await active.systemctl("kill", "--signal=SIGKILL", NAME)

    await active.until_shown("NRestarts", "1")
    await active.until_shown("ActiveState", "active")
    assert await active.main_pid() not in {0, first}
    assert await active.show("Result") == "success"


async def test_a_refused_configuration_is_told_as_an_error_and_not_tried_again(unit: Unit, stack: Stack) -> None:
    unit.configure(stack.environment(REFRESHD_CALLS_PER_MINUTE="many"))

    await unit.systemctl("start", NAME, code=1)

    assert await unit.show("ActiveState") == "failed"
    assert (await unit.show("ExecMainStatus"), await unit.show("NRestarts")) == ("78", "0")
    errors = [entry["MESSAGE"] for entry in await unit.journal("--priority=err") if entry["_TRANSPORT"] == "stdout"]
    assert "  - REFRESHD_CALLS_PER_MINUTE is 'many': must be a whole number" in errors


async def test_without_any_configuration_everything_that_is_missing_is_named(bare_unit: Unit) -> None:
    await bare_unit.systemctl("start", NAME, code=1)

    assert (await bare_unit.show("ExecMainStatus"), await bare_unit.show("NRestarts")) == ("78", "0")
    told = "\n".join(entry["MESSAGE"] for entry in await bare_unit.journal("--priority=err"))
    assert [name for name in (*REQUIRED_SECRETS, *example_settings(optional=False)) if name not in told] == []


async def test_it_stops_as_asked_within_twenty_seconds_and_with_exit_code_0(active: Unit) -> None:
    await active.until_event("realtime_connected")
    before = time.monotonic()

    await active.systemctl("stop", NAME)

    assert time.monotonic() - before < 20
    assert await active.show("ActiveState") == "inactive"
    assert (await active.show("Result"), await active.show("ExecMainStatus")) == ("success", "0")
    assert "stopped" in [event["event"] for event in await active.events()]


async def test_credentials_are_read_by_the_daemon_and_by_nobody_else(active: Unit, stack: Stack) -> None:
    folder = f"/run/credentials/{NAME}"
    pid, user = await active.main_pid(), await active.show("UID")
    environment = active.container.path(f"/proc/{pid}/environ").read_bytes()

    async def can_read(path: str, as_user: str) -> bool:
        inside = ("nsenter", f"--target={pid}", "--mount", "--")
        reader = ("setpriv", f"--reuid={as_user}", f"--regid={as_user}", "--clear-groups", "cat", path)
        return (await active.container.run(*inside, *reader, code=None)).code == 0

    assert f"CREDENTIALS_DIRECTORY={folder}".encode() in environment.split(b"\0")
    for name in SECRETS:
        assert await can_read(f"{folder}/{name}", user)
        assert not await can_read(f"{folder}/{name}", "65534")
        assert not await can_read(f"{CREDENTIALS}/{name}", user)
        assert not await can_read(f"{CREDENTIALS}/{name}", "65534")
    for secret in (stack.daemon_url, stack.service_key, stack.upstream_key, stack.owner_url):
        assert secret.encode() not in environment
        assert secret not in json.dumps(await active.journal())
    assert {path.name for path in active.container.path(folder).iterdir()} == set(SECRETS)


async def test_credentials_may_be_encrypted(unit: Unit) -> None:
    lines = ["[Service]"]
    for name in REQUIRED_SECRETS:
        source, target = f"{CREDENTIALS}/{name}", f"{CONFIGURATION}/{name}.cred"
        await unit.container.run("systemd-creds", "encrypt", "--with-key=host", f"--name={name}", source, target)
        unit.container.path(source).unlink()
        lines.append(f"LoadCredentialEncrypted={name}:{target}")
    await unit.drop_in("encrypted.conf", "\n".join(lines) + "\n")

    await unit.systemctl("start", NAME)

    await unit.until_event("realtime_connected")


async def test_it_has_a_user_of_its_own_and_no_rights(active: Unit) -> None:
    pid = await active.main_pid()
    status = dict(
        line.split(":\t", 1)
        for line in active.container.path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    user = int(status["Uid"].split()[0])

    assert user in DYNAMIC_USERS
    assert (await active.container.run("getent", "passwd", str(user))).output.startswith("refreshd:")
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["Groups"].split() in ([], [str(user)])


async def test_it_can_write_to_its_state_and_nowhere_else(active: Unit) -> None:
    pid, user = await active.main_pid(), await active.show("UID")

    async def can_write(folder: str) -> bool:
        inside = ("nsenter", f"--target={pid}", "--mount", "--wd=/", "--")
        writer = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "touch", f"{folder}/written")
        return (await active.container.run(*inside, *writer, code=None)).code == 0

    assert await can_write("/var/lib/refreshd")
    assert await can_write("/tmp")
    for folder in (
        "/etc",
        "/etc/refreshd",
        "/opt/refreshd",
        "/usr",
        "/var/lib",
        "/var/log",
        "/root",
        "/home",
        "/sys",
        "/",
    ):
        assert not await can_write(folder), folder
    state = active.container.path("/var/lib/private/refreshd").stat()
    assert (state.st_uid, stat.S_IMODE(state.st_mode)) == (int(user), 0o700)


async def test_the_journal_has_fields_and_priorities_that_can_be_asked_for(active: Unit, stack: Stack) -> None:
    await active.until_event("realtime_connected")
    await stack.realtime.stop()
    await active.until_event("realtime_disconnected")

    entries = [entry for entry in await active.journal() if entry["_TRANSPORT"] == "stdout"]
    assert {entry["SYSLOG_IDENTIFIER"] for entry in entries} == {"refreshd"}
    lines = [(entry["PRIORITY"], json.loads(entry["MESSAGE"])) for entry in entries]
    assert {(priority, PRIORITIES[line["level"]]) for priority, line in lines} == {("6", "6"), ("4", "4")}
    assert all({"time", "level", "event"} <= line.keys() for _, line in lines)
    warnings = [event["level"] for event in await active.events("--priority=warning")]
    assert set(warnings) == {"warning"}


async def test_systemd_reads_the_example_as_the_daemon_does(bare_unit: Unit) -> None:
    uncommented = re.sub(r"^#(?=[A-Z])", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    bare_unit.container.write(f"{CONFIGURATION}/refreshd.env", uncommented)
    printing = f"[Service]\nType=oneshot\nEnvironmentFile={CONFIGURATION}/refreshd.env\nExecStart=/usr/bin/env\n"
    bare_unit.container.write("/run/systemd/system/printing.service", f"{printing}StandardOutput=file:/run/printed\n")

    await bare_unit.systemctl("start", "printing.service")

    shown = bare_unit.container.path("/run/printed").read_text()
    variables = dict(line.split("=", 1) for line in shown.splitlines())
    expected = {**example_settings(optional=True), **example_settings(optional=False)}
    assert {name: variables.get(name, "") for name in expected} == expected


async def test_the_installation_works_as_it_is_written(container: Container, stack: Stack) -> None:
    unit, checkout = Unit(container), "/root/checkout"
    for file in FOLDER.iterdir():
        container.write(f"{checkout}/systemd/{file.name}", file.read_text())
    container.write(f"{checkout}/symbols.csv", "AAPL,NASDAQ\nMSFT,NASDAQ\n")
    container.write(f"/etc/systemd/system/{NAME}", "")

    async def do(section: str, *, without: str = "^$") -> str:
        commands = re.sub(without, "", steps(section), flags=re.MULTILINE)
        done = await container.run("bash", "-e", "-c", f"cd {checkout}\n{commands}", code=None)
        assert done.code == 0, done
        return done.output

    await container.run("cp", "-a", "/opt/refreshd", "/opt/kept")
    try:
        await do("3. Settings and secrets")
        unit.configure(stack.environment(**FAST))
        container.write(f"{CREDENTIALS}/REFRESHD_OWNER_DATABASE_URL", stack.owner_url, mode=0o600)
        checked = await do("4. The database")
        await do("5. The service", without=r"^.*notify-reload.*$")
        assert await unit.show("UnitFileState") == "enabled"
        await unit.until_event("realtime_connected")
        checked += await do("Encrypted secrets")
        assert [path.name for path in container.path(CREDENTIALS).iterdir()] == []
        checked += await do("Upgrade")
        assert (await unit.show("ActiveState"), await unit.show("Result")) == ("active", "success")
        await do("Uninstall")
    finally:
        container.write(f"/etc/systemd/system/{NAME}", UNIT.read_text())
        await unit.clean_up()
        container.remove("/opt/refreshd")
        await container.run("mv", "/opt/kept", "/opt/refreshd")
    assert checked.count("ok    Realtime") == 3
    assert "FAIL" not in checked


async def test_it_can_be_enabled_and_disabled(bare_unit: Unit) -> None:
    await bare_unit.systemctl("enable", NAME)
    assert await bare_unit.show("UnitFileState") == "enabled"
    assert "multi-user.target" in await bare_unit.show("WantedBy")

    await bare_unit.systemctl("disable", NAME)
    assert await bare_unit.show("UnitFileState") == "disabled"
