"""What the catalog of a migrated database must say of every object, those included that do not exist yet."""

from __future__ import annotations

import pytest

from daemon.store.database import Database

pytestmark = pytest.mark.direct

OWN_FUNCTIONS = """
select p.proname as name, p.*
from pg_proc p
where p.pronamespace = 'public'::regnamespace
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
"""
OWN_RELATIONS = """
select c.relname as name, c.*
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
  and not exists (
      select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )
"""

REGISTRY_OWNER = "(select r.relowner from pg_class r where r.relname = 'data_type_registry_v2')"

OWNER_ONLY = frozenset(
    {
        "begin_move_v2",
        "begin_rollback_v2",
        "change_cron_jobs_v2",
        "end_rollback_v2",
        "finish_move_v2",
        "hand_back_rows_v2",
        "hand_back_v2",
        "hold_move_v2",
        "lock_move_v2",
        "note_move_v2",
        "pause_old_jobs_v2",
        "rename_in_cron_jobs_v2",
        "take_over_state_v2",
        "withdraw_jobs_v2",
    }
)
"""Steps of the migration: an operator's, and never the daemon's."""

FUNCTION_RULES = {
    "has a comment": "obj_description(o.oid, 'pg_proc') is not null",
    "has a fixed search_path": "o.proconfig @> array['search_path=public, pg_temp']",
    "has no overload": """
        (select count(*) from pg_proc p where p.proname = o.name and p.pronamespace = o.pronamespace) = 1""",
    "is not SECURITY DEFINER": "not o.prosecdef",
    "belongs to the owner": f"o.proowner = {REGISTRY_OWNER}",
    "cannot be executed by PUBLIC": """
        not exists (select from aclexplode(coalesce(o.proacl, acldefault('f', o.proowner))) a where a.grantee = 0)""",
    "cannot be executed by anon": "not has_function_privilege('anon', o.oid, 'execute')",
    "cannot be executed by authenticated": "not has_function_privilege('authenticated', o.oid, 'execute')",
    "can be executed by the daemon, or is a trigger's, or a step of the migration": f"""
        has_function_privilege('refreshd_daemon', o.oid, 'execute') <> (o.name = any ('{{{",".join(OWNER_ONLY)}}}'))
        or o.prorettype = 'trigger'::regtype""",
    "has a name that the suffix covers": "o.name ~ '_v2$' or o.name = 'is_valid_identifier'",
    "compiles nothing where it forbids a plan, which then looks too dear": """
        o.proconfig::text !~ 'enable_[a-z]+=off' or o.proconfig @> array['jit=off']""",
    "has no argument without a name": """
        o.pronargs = 0 or (o.proargnames is not null and array_position(o.proargnames, '') is null)""",
}
RELATION_RULES = {
    "has a comment, or is a partition": "obj_description(o.oid, 'pg_class') is not null or o.relispartition",
    "has row-level security, or is a view": "o.relrowsecurity or o.relkind = 'v'",
    "has a policy, or is a view": "exists (select from pg_policy p where p.polrelid = o.oid) or o.relkind = 'v'",
    "has a primary key, or is a view": """
        o.relkind = 'v' or exists (select from pg_index i where i.indrelid = o.oid and i.indisprimary)""",
    "belongs to the owner": f"o.relowner = {REGISTRY_OWNER}",
    "grants nothing to PUBLIC": """
        not exists (select from aclexplode(o.relacl) a where a.grantee = 0)
        and not exists (
            select from pg_attribute t, aclexplode(t.attacl) a where t.attrelid = o.oid and a.grantee = 0
        )""",
    "checks a view as its reader, but for the public one": """
        o.relkind <> 'v' or o.name = 'refresh_status_v2' or o.reloptions @> array['security_invoker=true']""",
}

UNINDEXED_FOREIGN_KEYS = """
select k.conrelid::regclass || '.' || a.attname
from pg_constraint k
join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
where k.contype = 'f' and k.connamespace = 'public'::regnamespace
  and not exists (
      select from pg_index i where i.indrelid = k.conrelid and i.indkey[0] = k.conkey[1] and i.indpred is null
  )
order by 1
"""
SCANNED_ON_PURPOSE = {
    "api_data_usage_v2.upstream": "an upstream is never deleted, and every call to one would pay for the index",
}


@pytest.mark.parametrize("rule", FUNCTION_RULES)
async def test_every_function(owner: Database, rule: str) -> None:
    rows = await owner.fetch(
        f"select o.name from ({OWN_FUNCTIONS}) o where ({FUNCTION_RULES[rule]}) is not true order by 1"
    )

    assert [row["name"] for row in rows] == []


@pytest.mark.parametrize("rule", RELATION_RULES)
async def test_every_table_and_view(owner: Database, rule: str) -> None:
    rows = await owner.fetch(
        f"select o.name from ({OWN_RELATIONS}) o where ({RELATION_RULES[rule]}) is not true order by 1"
    )

    assert [row["name"] for row in rows] == []


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("has a comment", "comment on function renew_leases_v2 is null"),
        ("has a fixed search_path", "alter function renew_leases_v2 reset search_path"),
        ("has no overload", "create function renew_leases_v2() returns int language sql return 1"),
        ("is not SECURITY DEFINER", "alter function renew_leases_v2 security definer"),
        ("belongs to the owner", "alter function renew_leases_v2 owner to refreshd_daemon"),
        ("cannot be executed by PUBLIC", "grant execute on function renew_leases_v2 to public"),
        ("cannot be executed by anon", "grant execute on function renew_leases_v2 to anon"),
    ],
)
async def test_a_function_against_a_rule_is_found(owner: Database, rule: str, statement: str) -> None:
    await owner.execute("grant create on schema public to refreshd_daemon")
    await owner.execute(statement)

    found = await owner.fetch(
        f"select distinct o.name from ({OWN_FUNCTIONS}) o where ({FUNCTION_RULES[rule]}) is not true"
    )

    assert [row["name"] for row in found] == ["renew_leases_v2"]


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("has a comment, or is a partition", "comment on table leases_v2 is null"),
        ("has row-level security, or is a view", "alter table leases_v2 disable row level security"),
        ("has a policy, or is a view", "drop policy refreshd_daemon on leases_v2"),
        ("grants nothing to PUBLIC", "grant update (holder) on leases_v2 to public"),
        ("has a primary key, or is a view", "alter table leases_v2 drop constraint leases_v2_pkey"),
    ],
)
async def test_a_table_against_a_rule_is_found(owner: Database, rule: str, statement: str) -> None:
    await owner.execute(statement)

    found = await owner.fetch(f"select o.name from ({OWN_RELATIONS}) o where ({RELATION_RULES[rule]}) is not true")

    assert [row["name"] for row in found] == ["leases_v2"]


async def test_a_foreign_key_has_an_index_unless_a_scan_is_meant(owner: Database) -> None:
    scanned = [row[0] for row in await owner.fetch(UNINDEXED_FOREIGN_KEYS)]

    assert scanned == sorted(SCANNED_ON_PURPOSE)


async def test_every_partition_of_the_queue_holds_exactly_one_status(owner: Database) -> None:
    rows = await owner.fetch(
        "select pg_get_expr(c.relpartbound, c.oid) as bound from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'api_call_queue_v2'::regclass"
    )

    assert sorted(row["bound"] for row in rows) == [
        f"FOR VALUES IN ('{status}')" for status in ("completed", "failed", "pending", "processing")
    ]
