"""``refreshd status`` and ``refreshd completion``, as their own processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import orjson
import pytest
import pytest_asyncio

from devstack.stack import Stack
from tests.cli.test_commands import refreshd
from tests.rows import make_ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIEWED = """
insert into active_subscriptions_v2 (user_id, symbol, data_type, source)
select 'viewer-' || n, symbol, 'quote', 'viewers:0' from unnest(array['AAPL', 'MSFT']) symbol, generate_series(1, 3) n
"""
STATE = """
insert into refresh_state_v2 (symbol, data_type, fresh_until, last_success_at, next_due_at)
values ('AAPL', 'quote', now() + interval '1 h', now(), now() + interval '1 h'),
       ('MSFT', 'quote', now() + $1::interval, now(), now() + $1::interval)
on conflict (symbol, data_type) do update
set fresh_until = excluded.fresh_until, next_due_at = excluded.next_due_at
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL", "MSFT"]) as running:
        await make_ready(running.owner, ["AAPL", "MSFT"])
        yield running


async def test_without_a_daemon_it_says_so_and_what_to_do(stack: Stack) -> None:
    code, text = await refreshd(stack, "status")

    assert code == 1
    assert "no daemon listens: start one (systemctl start refreshd)" in text


async def test_it_needs_the_database_url_alone(stack: Stack) -> None:
    url = stack.environment()["DATABASE_URL"]

    code, text = await refreshd(None, "status", "--json", DATABASE_URL=url)

    document = orjson.loads(text)
    assert code == 1
    assert document["ok"] is False
    assert document["flags"]["use_queue_system"] is True


async def test_it_tells_how_fresh_is_what_people_look_at(stack: Stack) -> None:
    daemon = await stack.start_daemon()
    await daemon.until_event("realtime_connected")
    await stack.owner.execute("update feature_flags set enabled = false where flag_name = 'use_new_staleness_check'")
    await stack.owner.execute("update data_type_registry_v2 set default_ttl_minutes = 60 where data_type = 'quote'")
    await stack.owner.execute(VIEWED)
    await stack.owner.execute(STATE, timedelta(hours=1))
    good = await refreshd(stack, "status", "--json")
    await stack.owner.execute("update feature_flags set enabled = false where flag_name = 'use_queue_system'")
    idle = await refreshd(stack, "status")
    await stack.owner.execute("update feature_flags set enabled = true where flag_name = 'use_queue_system'")
    await daemon.stop()

    document = orjson.loads(good[1])
    assert (good[0], document["ok"], document["staleness"]) == (0, True, 0.0)
    assert document["freshness"] == [
        {
            "data_type": "quote", "pairs": 2, "viewers": 6, "fresh_viewers": 6, "fresh_pairs": 2,
            "never_fresh_pairs": 0,
        }
    ]  # fmt: skip
    assert idle[0] == 0
    assert idle[1].startswith("idle: the flag use_queue_system is off")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_prints_the_script_of_a_shell(shell: str) -> None:
    code, text = await refreshd(None, "completion", shell)

    assert code == 0
    assert "_REFRESHD_COMPLETE" in text
    assert shell in text
