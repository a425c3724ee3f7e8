create table price_targets (
    symbol text primary key,
    target_high numeric,
    target_low numeric,
    target_consensus numeric,
    target_median numeric,
    fetched_at timestamptz not null default now()
);
comment on table price_targets is 'Written by refreshd: data type price-target.';
alter table price_targets enable row level security;
create policy refreshd_daemon on price_targets to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on price_targets for select using (true);
insert into data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name, key_columns,
    estimated_data_size_bytes
) values (
    'price-target', 'price_targets', 'fetched_at', 'is_data_stale_v2', 1440, 'price-target', '{symbol}', 700
);
