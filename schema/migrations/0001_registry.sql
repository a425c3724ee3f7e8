-- What can be refreshed, for whom, and whether at all.

create table data_type_registry_v2 (
    data_type text primary key
        check (data_type ~ '^[a-z][a-z0-9-]{0,40}$'),
    table_name text not null
        check (table_name ~ '^[A-Za-z_][A-Za-z0-9_]*$' and octet_length(table_name) <= 63),
    timestamp_column text not null
        check (timestamp_column ~ '^[A-Za-z_][A-Za-z0-9_]*$' and octet_length(timestamp_column) <= 63),
    staleness_function text not null
        check (staleness_function ~ '^[A-Za-z_][A-Za-z0-9_]*$' and octet_length(staleness_function) <= 63),
    default_ttl_minutes integer not null check (default_ttl_minutes > 0),
    edge_function_name text not null,
    upstream text not null default 'fmp',
    key_columns text[] not null check (cardinality(key_columns) > 0),
    refresh_strategy text not null default 'on-demand'
        check (refresh_strategy in ('on-demand', 'scheduled')),
    refresh_schedule text,
    priority integer not null default 0,
    estimated_data_size_bytes bigint not null default 0 check (estimated_data_size_bytes >= 0),
    symbol_column text default 'symbol'
        check (symbol_column ~ '^[A-Za-z_][A-Za-z0-9_]*$' and octet_length(symbol_column) <= 63),
    source_timestamp_column text
        check (source_timestamp_column ~ '^[A-Za-z_][A-Za-z0-9_]*$' and octet_length(source_timestamp_column) <= 63),
    api_calls_per_job integer not null default 1 check (api_calls_per_job > 0),
    batch_size integer not null default 1 check (batch_size between 1 and 1000),
    weight real not null default 1 check (weight > 0),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (refresh_strategy <> 'scheduled' or refresh_schedule is not null)
);
comment on table data_type_registry_v2 is
    'One row per data type. Read-only but for the owner. symbol_column NULL means a global table, whose pair always has the symbol GLOBAL.';
comment on column data_type_registry_v2.edge_function_name is 'The name of the fetcher.';
comment on column data_type_registry_v2.batch_size is 'How many symbols one call can carry, for predicting calls at a claim.';
comment on column data_type_registry_v2.weight is 'The v of the refresh policy.';

create table data_type_state_v2 (
    data_type text primary key references data_type_registry_v2 on delete cascade,
    estimated_data_size_bytes bigint check (estimated_data_size_bytes >= 0),
    next_scheduled_at timestamptz
) with (fillfactor = 50);
comment on table data_type_state_v2 is 'What changes at run time of a data type: the moving average of its size, and when its schedule fires next.';

create table supported_symbols (
    symbol text primary key check (symbol ~ '^[A-Z0-9^][A-Z0-9.^=-]{0,19}$'),
    is_active boolean not null default true,
    exchange text,
    last_scheduled_at timestamptz
);
comment on table supported_symbols is 'The allow-list of symbols: nothing else is ever asked for upstream.';

create table feature_flags (
    flag_name text primary key check (flag_name ~ '^[a-z][a-z0-9_]{0,62}$'),
    enabled boolean not null default false,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table feature_flags is 'What runs. Read by the SQL functions where they work, so that a change holds at once.';

create view enabled_data_types_v2 with (security_invoker = true) as
select r.*
from data_type_registry_v2 r
join feature_flags q on q.flag_name = 'use_queue_system' and q.enabled
join feature_flags t on t.flag_name = 'migrate_' || replace(r.data_type, '-', '_') || '_type' and t.enabled;
comment on view enabled_data_types_v2 is 'The data types that the flags allow to be queued and claimed now.';

alter table data_type_registry_v2 enable row level security;
alter table data_type_state_v2 enable row level security;
alter table supported_symbols enable row level security;
alter table feature_flags enable row level security;
create policy refreshd_daemon on data_type_registry_v2 for select to refreshd_daemon using (true);
create policy refreshd_daemon on data_type_state_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on supported_symbols to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on feature_flags for select to refreshd_daemon using (true);
revoke all on data_type_registry_v2, data_type_state_v2, supported_symbols, feature_flags, enabled_data_types_v2 from public;
grant select on data_type_registry_v2, feature_flags, enabled_data_types_v2 to refreshd_daemon;
grant select, insert, update on data_type_state_v2 to refreshd_daemon;
grant select, update (last_scheduled_at) on supported_symbols to refreshd_daemon;
