"""The description of the endpoints, held against the endpoints by schemathesis: over sockets, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import msgspec
import pytest

from daemon.store.catalogue import StoredCatalogue
from daemon.store.database import Database
from daemon.store.subscriptions import StoredSubscriptions
from daemon.tickets import Tickets
from daemon.web.cross_origin import ALLOWED_HEADERS
from daemon.web.subscriptions import FreshPair, StalePair, TicketIssue, TrackAnswer, TrackRequest, UnknownPair
from daemon.web.subscriptions_openapi import OPENAPI_PATH, openapi_document
from tests.clocks import StandingClock
from tests.presence.stage import LogRecorder
from tests.rows import make_ready
from tests.web.subscription_stage import hs256, staged

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment-web.md").read_text(encoding="utf-8")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.mark.direct
async def test_schemathesis_finds_nothing(
    owner: Database, database: Database, tmp_path: Path, log: LogRecorder
) -> None:
    await make_ready(owner)
    catalogue = StoredCatalogue()
    await catalogue.load(database)
    tickets = TicketIssue(
        Tickets(["a key that signs tickets in these tests"], grace_seconds=0), StandingClock().now, 900
    )
    async with staged(
        store=StoredSubscriptions(database),
        catalogue=catalogue,
        ticket_issue=tickets,
        per_user=1_000_000,
        per_address=1_000_000,
    ) as stage:
        process = await asyncio.create_subprocess_exec(
            SCHEMATHESIS,
            "run",
            f"{stage.url}{OPENAPI_PATH}",
            "--header",
            f"Authorization: Bearer {hs256(exp=2**33)}",
            "--checks=all",
            "--max-examples=50",
            "--seed=1",
            "--generation-database=none",
            "--no-color",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert "2 selected / 2 total" in output.decode()
    assert log.lines == []


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        (TrackRequest, "Subscription"),
        (TrackAnswer, "TrackAnswer"),
        (FreshPair, "fresh"),
        (StalePair, "queued"),
        (StalePair, "held"),
        (UnknownPair, "unknown"),
    ],
)
def test_every_field_is_described(model: type[msgspec.Struct], schema: str) -> None:
    schemas = openapi_document()["components"]["schemas"]
    described = schemas.get(schema) or schemas["TrackAnswer"]["properties"][schema]["items"]

    assert [field.encode_name for field in msgspec.structs.fields(model)] == list(described["properties"])
    assert "anyOf" in described or described["required"] == list(described["properties"])


def test_the_page_about_deployment_lets_the_described_paths_through_and_no_other() -> None:
    (pattern,) = re.findall(r"location ~ (\S+) \{", PAGE)
    (listed,) = re.findall(r"@pages path (.+)", PAGE)
    paths = {*openapi_document()["paths"], OPENAPI_PATH}

    assert all(re.search(pattern, path) for path in paths)
    assert not any(re.search(pattern, path) for path in ("/metrics", "/health", "/readyz", "/x/openapi.json"))
    assert set(listed.split()) == paths


def test_the_page_names_every_code_and_what_a_browser_may_send() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "daemon" / "web").glob("*.py"))
    codes = set(re.findall(r"(?:RequestError\(\s*\d+,|unavailable\()\s*\"(\w+)\"", sources))

    assert len(codes) > 10
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()
    assert ALLOWED_HEADERS in PAGE
