insert into upstreams_v2 (upstream) values ('fmp') on conflict do nothing;

insert into data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name,
    key_columns, refresh_strategy, estimated_data_size_bytes, source_timestamp_column, batch_size
) values
    ('quote', 'live_quote_indicators', 'fetched_at', 'is_data_stale_v2', 1, 'quote',
     '{symbol}', 'on-demand', 2000, 'source_timestamp', 100),
    ('profile', 'profiles', 'modified_at', 'is_profile_stale_v2', 1440, 'profile',
     '{symbol}', 'on-demand', 5000, null, 1)
on conflict do nothing;

insert into data_type_state_v2 (data_type)
select data_type from data_type_registry_v2
on conflict do nothing;
