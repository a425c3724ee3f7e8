-- Moving over from an older system, one data type at a time, and the names that objects have at the end of it.

create table refreshd_names (
    is_only boolean primary key default true check (is_only),
    suffix text not null check (suffix in ('_v2', '')),
    changed_at timestamptz not null default now()
);
comment on table refreshd_names is
    'One row: what the names of refreshd''s objects end in. `refreshd migration finalize` takes the suffix away, and everything follows.';
insert into refreshd_names (suffix) values ('_v2');

create table migration_baselines_v2 (
    name text primary key check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    recorded_at timestamptz not null default now(),
    recorded_by text not null,
    note text,
    content jsonb not null
);
comment on table migration_baselines_v2 is
    'How everything was at a named moment: data tables, old jobs, calls and bytes, as `refreshd baseline record` measured it.';

create table migration_phases_v2 (
    data_type text primary key references data_type_registry_v2 on delete cascade,
    phase text not null
        check (phase in ('pausing', 'watched', 'rolling_back', 'resuming', 'rolled_back', 'finished')),
    since timestamptz not null default now(),
    started_at timestamptz,
    held_until timestamptz,
    baseline text,
    old_jobs jsonb not null default '[]',
    symbols_at_start integer,
    checks jsonb not null default '[]',
    checked_at timestamptz
) with (fillfactor = 50);
comment on table migration_phases_v2 is 'Where each data type is on its way from the old system; one without a row is still there.';
comment on column migration_phases_v2.held_until is
    'Nothing of the type is queued or claimed before: a run of its old job may still go on.';
comment on column migration_phases_v2.old_jobs is 'What was paused, and how each of it is resumed.';
comment on column migration_phases_v2.checks is 'What the gates said when they were last looked at.';

create table migration_samples_v2 (
    data_type text not null references migration_phases_v2 on delete cascade,
    at timestamptz not null,
    completed bigint not null,
    failed bigint not null,
    viewed integer not null,
    fresh integer not null,
    primary key (data_type, at)
);
comment on table migration_samples_v2 is
    'What the watch over a moved type saw: jobs that ended since the sample before, viewed pairs, and how many of those were fresh.';

create table migration_journal_v2 (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    who text not null,
    data_type text,
    step text not null,
    why text,
    detail jsonb not null default '{}'
);
comment on table migration_journal_v2 is 'Every step of the migration, with who, when and why. Never deleted.';

create view type_flags_v2 with (security_invoker = true) as
select r.data_type, coalesce(f.enabled, n.suffix = '') as is_on
from data_type_registry_v2 r
cross join refreshd_names n
left join feature_flags f on f.flag_name = 'migrate_' || replace(r.data_type, '-', '_') || '_type';
comment on view type_flags_v2 is
    'Whether each data type is switched on. A missing flag is off while types move over, and on once that is over: the flags of moved types are gone then.';

create or replace view enabled_data_types_v2 with (security_invoker = true) as
select r.*
from data_type_registry_v2 r
join feature_flags q on q.flag_name = 'use_queue_system' and q.enabled
join type_flags_v2 t on t.data_type = r.data_type and t.is_on
left join migration_phases_v2 m on m.data_type = r.data_type
where m.held_until is null or m.held_until <= clock_timestamp();

alter table refreshd_names enable row level security;
alter table migration_baselines_v2 enable row level security;
alter table migration_phases_v2 enable row level security;
alter table migration_samples_v2 enable row level security;
alter table migration_journal_v2 enable row level security;
create policy refreshd_daemon on refreshd_names for select to refreshd_daemon using (true);
create policy refreshd_daemon on migration_baselines_v2 for select to refreshd_daemon using (true);
create policy refreshd_daemon on migration_phases_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on migration_samples_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on migration_journal_v2 for select to refreshd_daemon using (true);
revoke all on refreshd_names, migration_baselines_v2, migration_phases_v2, migration_samples_v2, migration_journal_v2,
    type_flags_v2 from public;
grant select on refreshd_names, migration_baselines_v2, migration_phases_v2, migration_samples_v2, migration_journal_v2,
    type_flags_v2 to refreshd_daemon;
grant update (checks, checked_at) on migration_phases_v2 to refreshd_daemon;
grant insert on migration_samples_v2 to refreshd_daemon;
