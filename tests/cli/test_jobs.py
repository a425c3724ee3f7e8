"""``refreshd jobs`` as an operator types it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
import pytest
import pytest_asyncio

from daemon.contracts import Pair
from daemon.store.jobs import cancel_job
from daemon.store.queue import claim_jobs
from devstack.stack import Stack
from tests.cli.test_commands import refreshd
from tests.rows import make_ready, queue

SYMBOLS = ["AAPL", "MSFT", "NVDA", "TSLA"]
HOSTILE = "upstream_error: [red]500[/red] :smile: \x1b[31m\n<html>\u202e"
ESCAPED = r"upstream_error: [red]500[/red] :smile: \x1b[31m\n<html>\u202e"

FAILED = """
update api_call_queue_v2_failed set error_message = $2, finished_at = now() - interval '150 s' where id = $1
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=SYMBOLS) as running:
        await make_ready(running.owner, SYMBOLS)
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stack(server: Stack) -> Stack:
    """The stack with an empty queue."""
    await server.owner.execute("truncate api_call_queue_v2, refresh_state_v2")
    return server


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def queue_one(stack: Stack, symbol: str, data_type: str = "quote") -> UUID:
    [job_id] = await queue(stack.owner, Pair(symbol, data_type))
    assert isinstance(job_id, UUID)
    return job_id


async def fail_one(stack: Stack, symbol: str, message: str = "timeout: test") -> UUID:
    job_id = await queue_one(stack, symbol)
    assert await cancel_job(stack.owner, job_id) == "cancelled"
    await stack.owner.execute(FAILED, job_id, message)
    return job_id


async def status_of(stack: Stack, job_id: UUID) -> Any:
    return await stack.owner.fetchval("select status from api_call_queue_v2 where id = $1", job_id)


@pytest.mark.parametrize("columns", [80, 130])
async def test_jobs_are_listed_by_status_within_the_width_of_the_terminal(stack: Stack, columns: int) -> None:
    failed = await fail_one(stack, "AAPL", HOSTILE + "x" * 1000)
    running = await queue_one(stack, "MSFT", "profile")
    await claim_jobs(stack.owner, 1, "host/4242", 300)
    await queue_one(stack, "NVDA")
    await queue_one(stack, "TSLA")

    code, text = await refreshd(stack, "jobs", "list", COLUMNS=str(columns))

    lines = [line.rstrip() for line in text.splitlines()]
    assert code == 0
    assert lines[0] == "in the queue: processing 1, pending 2, failed 1, completed 0"
    assert [line for line in lines if line in {"processing", "pending", "failed"}] == [
        "processing",
        "pending",
        "failed",
    ]
    [of_running] = [line for line in lines if line.startswith(str(running)[:8])]
    [of_failed] = [line for line in lines if line.startswith(str(failed)[:8])]
    assert of_running.split()[1:5] == ["MSFT", "profile", "first", "view"]
    assert of_running.endswith(" 4 min, host/4242")
    assert " 2 min " in of_failed
    assert ESCAPED[: columns - 70] in of_failed
    assert max(map(len, lines)) <= columns


async def test_what_an_error_says_is_neither_markup_nor_obeyed_by_the_terminal(stack: Stack) -> None:
    job_id = await fail_one(stack, "AAPL", HOSTILE)

    for command in (["list"], ["show", str(job_id)]):
        _, text = await refreshd(stack, "jobs", *command, COLUMNS="200", FORCE_COLOR="1")

        assert ESCAPED in text
        assert "\x1b[31m" not in text
    for command in (["list"], ["show", str(job_id)]):
        _, text = await refreshd(stack, "jobs", *command, "--json")

        document = orjson.loads(text)
        assert (document["jobs"][0] if "jobs" in document else document["job"])["error_message"] == HOSTILE
        assert "\u202e" not in text


async def test_a_list_ends_at_its_limit_and_says_how_many_more_there_are(stack: Stack) -> None:
    for symbol in SYMBOLS:
        await queue_one(stack, symbol)

    _, text = await refreshd(stack, "jobs", "list", "--limit", "3")
    _, document = await refreshd(stack, "jobs", "list", "--limit", "3", "--json")

    assert text.endswith("\nand 1 more\n")
    listed = orjson.loads(document)
    assert len(listed["jobs"]) == 3
    assert listed["more"] == {"count": 1, "exact": True}
    assert listed["totals"]["pending"] == {"count": 4, "exact": True}
    assert listed["jobs"][0]["lane_name"] == "first view"


async def test_a_long_queue_is_counted_only_so_far(stack: Stack) -> None:
    await stack.owner.execute(
        "insert into api_call_queue_v2 (symbol, data_type, status, lane, priority, gain, finished_at, outcome)"
        " select 'AAPL', 'quote', 'completed', 1, 1, 1, now(), 'changed' from generate_series(1, 10100)"
    )

    _, text = await refreshd(stack, "jobs", "list", "--symbol", "AAPL")

    assert "completed more than 10,000\n" in text
    assert "and more than 10,000 more\n" in text
    assert "only the newest 100,000 jobs of a status were searched\n" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("list",), 0, "no jobs\n"),
        (("list", "--symbol", "AAPL", "--status", "failed"), 0, "no such jobs\n"),
        (("list", "--type", "quotes"), 1, "there is no data type 'quotes'; the types are available-exchanges, "),
        (("list", "--status", "lost"), 2, "'lost' is not one of"),
        (("list", "--limit", "1001"), 2, "1001 is not in the range 1<=x<=1000"),
        (("show", "1234"), 1, "'1234' is no job id: give the id, or at least its first 8 digits"),
        (("show", "12345678"), 1, "there is no job 12345678"),
        (("retry",), 2, "Missing argument 'ID...'"),
    ],
)
async def test_an_empty_queue_and_wrong_usage_are_told(
    stack: Stack, arguments: tuple[str, ...], code: int, said: str
) -> None:
    answered, text = await refreshd(stack, "jobs", *arguments)

    assert (answered, said in text) == (code, True)


async def test_a_job_is_shown_whole_with_the_state_of_its_pair(stack: Stack) -> None:
    long = "x" * 900
    job_id = await fail_one(stack, "AAPL", long)

    code, text = await refreshd(stack, "jobs", "show", str(job_id)[:13])

    assert code == 0
    assert f"id                         {job_id}\n" in text
    assert f"error_message              {long}\n" in text
    assert "lane                       0 (first view)\n" in text
    assert "\n  consecutive_failures  0\n" in text


async def test_failed_jobs_are_tried_again_each_with_its_line(stack: Stack) -> None:
    failed, waiting, twin = await fail_one(stack, "AAPL"), await queue_one(stack, "MSFT"), await fail_one(stack, "NVDA")
    await queue_one(stack, "NVDA")

    code, text = await refreshd(stack, "jobs", "retry", str(failed)[:8], str(waiting), str(twin), "no-id", "12345678")

    assert code == 1
    assert sorted(text.splitlines()) == sorted(
        [
            f"{failed} AAPL quote: queued again",
            f"{waiting} MSFT quote: is pending: only failed jobs can be tried again",
            f"{twin} NVDA quote: stays failed: the pair has an open job already",
            "'no-id' is no job id: give the id, or at least its first 8 digits",
            "there is no job 12345678",
        ]
    )
    assert await status_of(stack, failed) == "pending"
    assert await status_of(stack, twin) == "failed"


async def test_a_retry_against_a_flag_names_the_flags(stack: Stack) -> None:
    failed = await fail_one(stack, "AAPL")
    await refreshd(stack, "flags", "off", "migrate_quote_type")

    code, text = await refreshd(stack, "jobs", "retry", str(failed))
    await refreshd(stack, "flags", "on", "migrate_quote_type")

    assert code == 1
    assert "flags are off, use_queue_system and migrate_quote_type must be on" in text


async def test_open_jobs_are_cancelled_by_name_of_the_login(stack: Stack) -> None:
    waiting = await queue_one(stack, "AAPL")

    code, text = await refreshd(stack, "jobs", "cancel", str(waiting))
    assert (code, text) == (0, f"{waiting} AAPL quote: cancelled\n")
    message = await stack.owner.fetchval("select error_message from api_call_queue_v2 where id = $1", waiting)
    assert message == f"cancelled by {await stack.owner.fetchval('select session_user')}"

    code, text = await refreshd(stack, "jobs", "cancel", str(waiting))
    assert code == 1
    assert text == f"{waiting} AAPL quote: is failed: only pending and processing jobs can be cancelled\n"


async def test_the_daemons_login_may_look(stack: Stack) -> None:
    job_id = await queue_one(stack, "AAPL")

    for arguments in (("list",), ("show", str(job_id))):
        code, text = await refreshd(stack, "jobs", *arguments, REFRESHD_OWNER_DATABASE_URL="")

        assert (code, str(job_id)[:8] in text) == (0, True)
