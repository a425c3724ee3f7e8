"""The example plug-in, installed from its folder as an operator does it, and seen working."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from daemon.contracts import Pair
from daemon.store.flags import set_flags
from devstack.daemon_process import REPOSITORY
from devstack.plug_ins import EXAMPLE, EXAMPLE_FLAG, install
from devstack.stack import Stack
from tests.cli.test_commands import refreshd
from tests.rows import queue
from tests.test_end_to_end import FAST

STORED = "select count(*) from price_targets where symbol = $1 and target_low <= target_high"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example installed."""
    return install(EXAMPLE, tmp_path_factory.mktemp("plug-in"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(site: Path) -> AsyncIterator[Stack]:
    """A stack with the example's table and its row of the registry."""
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL", "MSFT"]) as running:
        await running.owner.execute((EXAMPLE / "price_targets.sql").read_text())
        code, text = await refreshd(running, "migrate", PYTHONPATH=str(site))
        assert code == 0, text
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


def break_in(folder: Path) -> str:
    """Return a path with a second plug-in that raises when it is imported, beside the example."""
    folder.mkdir(exist_ok=True)
    (folder / "broken_moods.py").write_text("raise RuntimeError('out of order')\n")
    info = folder / "broken_moods-0.3.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-moods\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[refreshd.fetchers]\nmood = broken_moods:MoodFetcher\n")
    return str(folder)


async def test_a_row_is_fetched_and_stored(stack: Stack, site: Path) -> None:
    dry = await refreshd(stack, "fetch", "price-target", "AAPL", "--dry-run", PYTHONPATH=str(site))
    code, text = await refreshd(stack, "fetch", "price-target", "AAPL", PYTHONPATH=str(site))

    assert (dry[0], code) == (0, 0), dry[1] + text
    assert text.startswith("AAPL price-target is changed: 1 row stored, fresh until ")
    assert await stack.owner.fetchval(STORED, "AAPL") == 1


async def test_without_the_package_its_type_says_what_is_missing(stack: Stack) -> None:
    code, text = await refreshd(stack, "fetch", "price-target", "AAPL", "--dry-run")

    assert code == 78
    assert "price-target needs the fetcher 'price-target', which is not here" in text


async def test_types_and_check_name_the_package(stack: Stack, site: Path) -> None:
    _, listed = await refreshd(stack, "types", "list", PYTHONPATH=str(site), COLUMNS="130")
    _, shown = await refreshd(stack, "types", "show", "price-target", "--json", PYTHONPATH=str(site))
    _, checked = await refreshd(stack, "check", PYTHONPATH=str(site))

    [line] = [line for line in listed.splitlines() if line.startswith("price-target ")]
    assert line.split()[-2:] == ["off", "plug-in"]
    assert "the fetcher price-target comes from refreshd-price-targets 0.1.0" in listed
    assert orjson.loads(shown)["fetcher_origin"] == "refreshd-price-targets 0.1.0"
    assert "ok    plug-in        refreshd-price-targets 0.1.0 has the fetcher price-target" in checked


async def test_the_daemon_refreshes_its_type_beside_a_plug_in_that_is_broken(
    stack: Stack, site: Path, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(site), break_in(tmp_path)])
    await set_flags(stack.owner, [EXAMPLE_FLAG], enabled=True)

    daemon = await stack.start_daemon({**FAST, "PYTHONPATH": path})
    loaded = await daemon.until_event("plug_in_loaded")
    refused = await daemon.until_event("plug_in_refused")
    await daemon.until_event("started")
    await queue(stack.owner, Pair("MSFT", "price-target"))
    finished = await daemon.until(lambda line: line.get("data_type") == "price-target")
    checked = await refreshd(stack, "check", PYTHONPATH=path)
    await daemon.stop()

    assert (loaded["fetcher"], loaded["origin"]) == ("price-target", "refreshd-price-targets 0.1.0")
    assert (
        "broken-moods 0.3, fetcher 'mood': broken_moods:MoodFetcher cannot be built: RuntimeError" in refused["problem"]
    )
    assert (finished["symbol"], finished["verdict"], finished["outcome"]) == ("MSFT", "completed", "changed")
    assert await stack.owner.fetchval(STORED, "MSFT") == 1
    assert checked[0] == 1
    assert "FAIL  plug-in        broken-moods 0.3" in checked[1]


async def test_its_own_tests_pass(site: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "test_price_targets.py"),
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}, cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert b" passed" in output
