"""Who may do what: every role tries every verb on every relation and every function, on real rows.

The expectation is derived from the few rules below. Everything is tried twice: on plain PostgreSQL, and on a database
whose default privileges give everything to the roles of the web, as those of a Supabase project do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from daemon.store.database import Database
from daemon.store.migrate import migrate
from daemon.store.schema import load_schema
from devstack.postgres import EmbeddedPostgres
from tests.databases import TestDatabase, database_of
from tests.rows import HOLDER, make_ready, queue
from tests.store.test_catalog import OWN_FUNCTIONS, OWN_RELATIONS
from tests.store.test_queue import PROFILE, QUOTE

pytestmark = pytest.mark.direct

STRANGER = "refreshd_test_stranger"
WEB = ("anon", "authenticated")
ROLES = (*WEB, "service_role", "refreshd_daemon", STRANGER)

SELECT, INSERT, UPDATE, DELETE, TRUNCATE = "select", "insert", "update", "delete", "truncate"
ALL_OF_A_ROW = {SELECT, INSERT, UPDATE, DELETE}

DAEMON_READS = {
    "data_type_registry_v2",
    "feature_flags",
    "migration_baselines_v2",
    "migration_journal_v2",
    "refreshd_migrations",
    "refreshd_names",
}
DAEMON_NEVER_DELETES = {
    "data_type_state_v2",
    "estimates_v2",
    "job_summaries_v2",
    "refresh_state_v2",
    "supported_symbols",
}
DAEMON_UPDATES = {"migration_phases_v2", "upstreams_v2"}
DAEMON_ADDS = {"migration_samples_v2"}
PUBLIC_VIEW = "refresh_status_v2"

SUPABASE_DEFAULTS = """
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
"""


def expected(role: str, relation: asyncpg.Record) -> set[str]:
    """Return the verbs that a role may use on a relation."""
    name, is_view, is_data = relation["name"], relation["kind"] == "v", relation["is_data"]
    if role in WEB:
        return {SELECT} if is_data or name == PUBLIC_VIEW else set()
    if role == "service_role":
        return {SELECT}
    if role == STRANGER:
        return set()
    if is_view or name in DAEMON_READS:
        return {SELECT}
    if name in DAEMON_ADDS | DAEMON_UPDATES:
        return {SELECT, INSERT if name in DAEMON_ADDS else UPDATE}
    return {SELECT, INSERT, UPDATE} if name in DAEMON_NEVER_DELETES else {SELECT, *ALL_OF_A_ROW}


RELATIONS = f"""
select o.name, o.relkind::text as kind,
       o.name in (select r.table_name from data_type_registry_v2 r) as is_data,
       array(
           select a.attname::text from pg_attribute a
           where a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
       ) as columns
from ({OWN_RELATIONS}) o
order by 1
"""
FUNCTIONS = f"""
select o.name,
       array(select format('null::%s', format_type(t, null)) from unnest(o.proargtypes) with ordinality as u (t, n)
             order by n) as arguments
from ({OWN_FUNCTIONS}) o
where o.prorettype <> 'trigger'::regtype
order by 1
"""
ONE_OF_EACH = """
insert into live_quote_indicators (symbol, price) values ('AAPL', 1);
insert into profiles (symbol, company_name) values ('AAPL', 'Apple');
insert into financial_statements (symbol, date, period) values ('AAPL', '2025-09-27', 'FY');
insert into ratios_ttm (symbol) values ('AAPL');
insert into dividend_history (symbol, date) values ('AAPL', '2026-08-10');
insert into shares_float (symbol, date) values ('AAPL', '2026-08-26');
insert into revenue_product_segmentation (symbol, fiscal_year, period, date) values ('AAPL', 2025, 'FY', '2025-09-27');
insert into grades_historical (symbol, date) values ('AAPL', '2026-08-01');
insert into exchange_variants (symbol, symbol_variant, exchange_short_name) values ('AAPL', 'AAPL.MX', 'MEX');
insert into available_exchanges (exchange) values ('ASX');
insert into exchange_market_status (exchange) values ('ASX');
insert into migration_baselines_v2 (name, recorded_by, content) values ('before', 'ada', '{}');
insert into migration_phases_v2 (data_type, phase) values ('ratios-ttm', 'watched');
insert into migration_samples_v2 values ('ratios-ttm', now(), 1, 0, 1, 1);
insert into migration_journal_v2 (who, step) values ('ada', 'tried');
insert into estimates_v2 (estimate, mean) values ('session_seconds', 260);
insert into job_summaries_v2 values ('2026-08-26', 'quote', 'changed', 1, 0, 1, 1, 1);
insert into active_subscriptions_v2 values ('user:1', 'AAPL', 'quote', 's');
insert into leases_v2 values ('shard:0', 'test/1', now());
insert into listeners_v2 values ('test/1', now());
insert into symbol_topics_v2 values ('symbol:AAPL');
insert into api_usage_hours_v2 values ('fmp', now(), 1, 1);
select from reserve_api_calls_v2('fmp', 1, 1000, 'test/1');
insert into api_call_queue_v2 (symbol, data_type, status, lane, priority, gain)
values ('MSFT', 'quote', 'completed', 1, 1, 1), ('MSFT', 'quote', 'failed', 1, 1, 1);
"""


async def fill(owner: Database) -> None:
    """Put a row into every table, so that what row-level security hides can be told from what is not there."""
    await make_ready(owner)
    await queue(owner, QUOTE, PROFILE)
    await owner.execute("select from get_queue_batch_v2(1, $1, 30, '{quote}')", HOLDER)
    await owner.execute(ONE_OF_EACH)


@pytest.fixture(params=["plain", "supabase"])
async def asked(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, urls: TestDatabase
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A superuser's connection to a filled database, to take up any role."""
    async with database_of(postgres, "template1") as fresh:
        url = urls.owner_url
        if request.param == "supabase":
            url = fresh.owner_url
            await _run(url, SUPABASE_DEFAULTS)
            await migrate(url, load_schema())
        async with Database(url) as owner:
            await fill(owner)
        connection = await asyncpg.connect(url)
        if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", STRANGER):
            await connection.execute(f"create role {STRANGER} login")
        yield connection
        await connection.close()


async def _run(url: str, script: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(script)
    await connection.close()


async def tried(connection: asyncpg.Connection[asyncpg.Record], role: str, statement: str) -> str:
    """Run a statement as a role, undo it, and return ``done``, the number of rows it touched, or the error's code."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"set local role {role}")
        status = await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return f"{error.sqlstate}: {error}"
    finally:
        await transaction.rollback()
    return "no row" if status.endswith(" 0") else "done"


def was_allowed(answer: str) -> bool:
    """Tell permission from refusal: a broken constraint means that the statement was let through.

    42501 is a missing privilege or a policy, 55000 a view that cannot be written.
    """
    return answer == "done" or answer.startswith("23")


async def verbs_of(connection: asyncpg.Connection[asyncpg.Record], role: str, relation: asyncpg.Record) -> set[str]:
    """Return the verbs that really work for a role on a relation."""
    name = relation["name"]
    statements = {
        SELECT: [f"select 1 from {name} limit 1"],
        INSERT: [f"insert into {name} default values"],
        UPDATE: [f'update {name} set "{column}" = default' for column in relation["columns"]],
        DELETE: [f"delete from {name}"],
        TRUNCATE: [f"truncate {name} cascade"],
    }
    return {
        verb
        for verb, choices in statements.items()
        for statement in choices
        if was_allowed(await tried(connection, role, statement))
    }


async def test_every_table_has_a_row_to_be_tried(asked: asyncpg.Connection[asyncpg.Record]) -> None:
    relations = await asked.fetch(RELATIONS)

    empty = [r["name"] for r in relations if not await asked.fetchval(f"select exists (select from {r['name']})")]

    assert empty == [], f"put a row into each of {empty} in ONE_OF_EACH"


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_can_do_on_every_relation_what_the_rules_say_and_nothing_else(
    asked: asyncpg.Connection[asyncpg.Record], role: str
) -> None:
    relations = await asked.fetch(RELATIONS)

    wrong = {}
    for relation in relations:
        found, meant = await verbs_of(asked, role, relation), expected(role, relation)
        if found != meant:
            wrong[relation["name"]] = f"can {sorted(found)}, should {sorted(meant)}"

    assert len(relations) > 15
    assert wrong == {}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "refreshd_daemon"])
async def test_only_the_daemon_executes_functions(asked: asyncpg.Connection[asyncpg.Record], role: str) -> None:
    functions = await asked.fetch(FUNCTIONS)

    answers = {
        f["name"]: await tried(asked, role, f"select from {f['name']}({', '.join(f['arguments'])})") for f in functions
    }

    refused = {name: f"42501: permission denied for function {name}" for name in answers}
    assert len(answers) > 30
    assert answers == refused


async def test_the_daemon_moves_only_the_schedule_of_a_symbol(asked: asyncpg.Connection[asyncpg.Record]) -> None:
    columns = await asked.fetchval(f"select columns from ({RELATIONS}) r where name = 'supported_symbols'")

    answers = {
        column: await tried(asked, "refreshd_daemon", f"update supported_symbols set {column} = default")
        for column in columns
    }

    assert {column for column, answer in answers.items() if was_allowed(answer)} == {"last_scheduled_at"}


@pytest.mark.parametrize("role", [*WEB, "service_role", STRANGER])
async def test_no_sequence_is_open_to_the_web(asked: asyncpg.Connection[asyncpg.Record], role: str) -> None:
    names = await asked.fetch("select oid::regclass::text as name from pg_class where relkind = 'S'")

    answers = [await tried(asked, role, f"select nextval('{row['name']}')") for row in names]

    assert answers
    assert all(answer.startswith("42501: permission denied for sequence") for answer in answers)


async def test_no_role_of_the_web_can_create_anything(asked: asyncpg.Connection[asyncpg.Record]) -> None:
    for role in ROLES:
        answer = await tried(asked, role, "create table mine (x int)")

        assert answer == "42501: permission denied for schema public"


async def test_none_of_the_roles_is_more_than_it_should_be(asked: asyncpg.Connection[asyncpg.Record]) -> None:
    powerful = await asked.fetch(
        "select rolname from pg_roles where rolname = any ($1)"
        " and (rolsuper or rolcreaterole or rolcreatedb or rolreplication"
        "      or (rolbypassrls and rolname <> 'service_role') or (rolcanlogin and rolname <> $2))",
        list(ROLES),
        STRANGER,
    )

    assert powerful == []
