-- What may be spent, what was spent, and whether the upstream can be reached at all.

create table upstreams_v2 (
    upstream text primary key,
    price_calls double precision not null default 1 check (price_calls > 0),
    price_bytes double precision not null default 1 check (price_bytes > 0),
    paused_until timestamptz,
    pause_reason text,
    breaker_state text not null default 'closed' check (breaker_state in ('closed', 'open', 'half_open')),
    breaker_reason text,
    breaker_changed_at timestamptz not null default now(),
    breaker_open_until timestamptz,
    breaker_open_seconds double precision not null default 30 check (breaker_open_seconds > 0),
    probe_id uuid,
    probe_expires_at timestamptz
) with (fillfactor = 50);
comment on table upstreams_v2 is 'One row per upstream: prices, pause, and the one circuit breaker of all processes.';

create table upstream_limits_v2 (
    upstream text not null references upstreams_v2 on delete cascade,
    instance text not null,
    calls_per_minute integer not null check (calls_per_minute > 0),
    bytes_per_30_days bigint not null check (bytes_per_30_days > 0),
    seen_at timestamptz not null default now(),
    primary key (upstream, instance)
);
comment on table upstream_limits_v2 is 'The limits that each live instance was configured with; the least holds, and no live row means that nothing is claimed.';

create view upstream_limits_in_force_v2 with (security_invoker = true) as
select
    upstream,
    min(calls_per_minute) as calls_per_minute,
    min(bytes_per_30_days) as bytes_per_30_days,
    count(distinct (calls_per_minute, bytes_per_30_days)) > 1 as differ
from upstream_limits_v2
where seen_at > now() - interval '5 minutes'
group by upstream;
comment on view upstream_limits_in_force_v2 is 'The least limits of the instances seen within five minutes.';

create table api_data_usage_v2 (
    id bigint generated always as identity primary key,
    upstream text not null references upstreams_v2,
    holder text not null,
    reserved_at timestamptz not null default clock_timestamp(),
    settled_at timestamptz,
    calls integer not null check (calls >= 0),
    bytes bigint not null check (bytes >= 0),
    rolled_up boolean not null default false
);
comment on table api_data_usage_v2 is
    'One row per HTTP attempt: reserved before it with an estimate, settled after it with what came. An unsettled row counts as spent.';

-- Both budgets read only what is not rolled up yet: a few minutes of rows, whatever the history.
create index api_data_usage_v2_recent on api_data_usage_v2 (upstream, reserved_at) where not rolled_up;
create index api_data_usage_v2_age on api_data_usage_v2 using brin (reserved_at);

create table api_usage_hours_v2 (
    upstream text not null references upstreams_v2,
    hour timestamptz not null,
    calls bigint not null,
    bytes bigint not null,
    primary key (upstream, hour)
) with (fillfactor = 50);
comment on table api_usage_hours_v2 is 'Usage by hour: at most 721 rows say what 30 days have cost.';

alter table upstreams_v2 enable row level security;
alter table upstream_limits_v2 enable row level security;
alter table api_data_usage_v2 enable row level security;
alter table api_usage_hours_v2 enable row level security;
create policy refreshd_daemon on upstreams_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on upstream_limits_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on api_data_usage_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on api_usage_hours_v2 to refreshd_daemon using (true) with check (true);
revoke all on upstreams_v2, upstream_limits_v2, upstream_limits_in_force_v2, api_data_usage_v2, api_usage_hours_v2 from public;
grant select, update on upstreams_v2 to refreshd_daemon;
grant select, insert, update, delete on upstream_limits_v2, api_data_usage_v2, api_usage_hours_v2 to refreshd_daemon;
grant select on upstream_limits_in_force_v2 to refreshd_daemon;
