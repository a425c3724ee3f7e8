"""Secrets that nobody must ever see again: planted in every setting, looked for in every log line, answer and table."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from devstack.daemon_process import REPOSITORY
from devstack.stack import Stack
from devstack.upstream.faults import Fault, FaultKind
from tests.cli.test_commands import refreshd
from tests.fault_proxy import fault_proxy
from tests.operations.stage import start, url_of
from tests.serving import serving
from tests.test_end_to_end import FAST, looks_at, viewer

pytestmark = pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")

TICKET_KEY = "canary-ticket-key-0123456789-0123456789"
HEARTBEAT_PATH = "canary-heartbeat-5f1c"
COMMANDS = (
    ("check",), ("check", "--json"), ("status", "--json"), ("queue", "--json"), ("presence", "--json"),
    ("flags", "list"), ("jobs", "list", "--json"), ("types", "list"), ("explain", "AAPL", "quote", "--json"),
    ("migrate", "--status"), ("fetch", "quote", "AAPL", "--dry-run", "--raw"),
)  # fmt: skip
TABLES = """
select format('select coalesce(string_agg(t::text, e''\\n''), '''') from %I.%I t', n.nspname, c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'v', 'm', 'p') and n.nspname = 'public'
"""


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL", "MSFT"]) as running:
        yield running


@pytest.fixture
async def switch() -> AsyncIterator[str]:
    """A dead man's switch that refuses."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=500, text=str(request.url))

    app = web.Application()
    app.router.add_get("/{path:.*}", refuse)
    async with serving(app) as url:
        yield f"{url}/{HEARTBEAT_PATH}"


def leaks(secrets: Iterable[str], text: str) -> list[str]:
    return [secret[:12] for secret in secrets if secret in text]


async def test_no_secret_is_in_any_log_line_answer_or_table(stack: Stack, switch: str, tmp_path: Path) -> None:
    secrets = (*stack.secrets, TICKET_KEY, HEARTBEAT_PATH)
    settings = {
        **FAST,
        "REFRESHD_LOG_LEVEL": "debug",
        "REFRESHD_TICKET_KEY": TICKET_KEY,
        "REFRESHD_HEARTBEAT_URL": switch,
        "REFRESHD_HEARTBEAT_URL_SECONDS": "0.2",
        "PYTHONASYNCIODEBUG": "1",
    }
    echo = f"?apikey={stack.upstream_key}"
    log = tmp_path / "log"
    async with fault_proxy(stack.postgres.port) as proxy:
        url = stack.environment()["DATABASE_URL"].replace(f":{stack.postgres.port}/", f":{proxy.port}/")
        with log.open("wb") as file:
            daemon = await stack.start_daemon({**settings, "DATABASE_URL": url}, log=file)
            await daemon.until_event("realtime_connected")
            where = await url_of(daemon)
            for fault in (
                Fault(FaultKind.REDIRECT, location=f"http://{stack.upstream_key}.example/{echo}", times=1),
                Fault(FaultKind.FIELDS, fields={"name": stack.upstream_key, "price": -1}, times=1),
                Fault(FaultKind.FIELDS, fields={stack.upstream_key: stack.upstream_key}, times=1),
                Fault(FaultKind.UNAUTHORISED, times=1),
            ):
                stack.upstream.faults.add(fault)
                async with viewer(stack) as page:
                    await looks_at(
                        page, f"u{fault.kind}", AAPL=["quote", "profile"], MSFT=["quote", stack.upstream_key]
                    )
                    await asyncio.sleep(0.4)
                await stack.owner.execute(
                    "update upstreams_v2 set breaker_state = 'closed', breaker_open_until = null, paused_until = null"
                )
                await stack.owner.execute("update refresh_state_v2 set next_due_at = now() where open_job_id is null")
                await stack.owner.execute("update api_call_queue_v2_pending set not_before = now()")
            await daemon.until_event("breaker_opened")  # the database has to hear of it before it is held up
            proxy.stall()
            await asyncio.sleep(0.3)
            proxy.resume()
            daemon.send(signal.SIGHUP)
            async with ClientSession() as client:
                answers = []
                for path in ("metrics", "health", "healthz", "readyz", "nowhere", echo):
                    async with client.get(f"{where}/{path}") as answer:
                        answers.append(await answer.text())
            said = [(await refreshd(stack, *command, **settings))[1] for command in COMMANDS]
            await daemon.stop()

    statements = [row[0] for row in await stack.owner.fetch(TABLES)]
    tables = [str(await stack.owner.fetchval(statement)) for statement in statements]

    assert len(statements) > 30
    assert {"fetch_failed", "part_interrupted", "breaker_opened", "reloaded"} <= daemon.events.keys()
    assert {"log": leaks(secrets, log.read_text())} == {"log": []}
    assert {"answers": leaks(secrets, "\n".join(answers))} == {"answers": []}
    assert {"commands": leaks(secrets, "\n".join(said))} == {"commands": []}
    assert {"tables": leaks([*stack.secrets[:3], TICKET_KEY, HEARTBEAT_PATH], "\n".join(tables))} == {"tables": []}


async def test_a_secret_that_is_wrong_is_not_repeated(stack: Stack) -> None:
    wrong = "canary wrong key with spaces"
    daemon = await start(
        stack, {"FMP_API_KEY": wrong, "SUPABASE_SERVICE_ROLE_KEY": "canary-no-key", "DATABASE_URL": "canary"}
    )

    assert await daemon.wait() == 78
    assert leaks([wrong, "canary-no-key", "canary"], str(list(daemon.lines))) == []


async def test_a_traceback_of_a_process_that_dies_holds_none(stack: Stack) -> None:
    script = (
        "import sys, structlog\n"
        "from daemon.log import configure_logging\n"
        "configure_logging('json', 'debug', sys.argv[1:])\n"
        "def fail(key): raise RuntimeError(f'broken with {key}')\n"
        "try:\n    fail(sys.argv[1])\n"
        "except RuntimeError as error:\n    structlog.get_logger().critical('died', error=str(error), exc_info=True)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stack.upstream_key, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()

    assert b"[redacted]" in said
    assert b"traceback" in said
    assert leaks([stack.upstream_key], said.decode()) == []
