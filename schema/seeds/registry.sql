insert into upstreams_v2 (upstream) values ('fmp') on conflict do nothing;

insert into data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name,
    key_columns, refresh_strategy, refresh_schedule, estimated_data_size_bytes, symbol_column, source_timestamp_column,
    api_calls_per_job, batch_size, market_hours
) values
    ('quote', 'live_quote_indicators', 'fetched_at', 'is_data_stale_v2', 1, 'quote',
     '{symbol}', 'on-demand', null, 2000, 'symbol', 'source_timestamp', 1, 100, true),
    ('profile', 'profiles', 'modified_at', 'is_profile_stale_v2', 1440, 'profile',
     '{symbol}', 'on-demand', null, 5000, 'symbol', null, 1, 1, false),
    ('financial-statements', 'financial_statements', 'fetched_at', 'is_data_stale_v2', 43200, 'financial-statements',
     '{symbol,date,period}', 'on-demand', null, 500000, 'symbol', 'accepted_date', 3, 1, false),
    ('ratios-ttm', 'ratios_ttm', 'fetched_at', 'is_data_stale_v2', 1440, 'ratios-ttm',
     '{symbol}', 'on-demand', null, 50000, 'symbol', null, 1, 1, false),
    ('dividend-history', 'dividend_history', 'fetched_at', 'is_data_stale_v2', 129600, 'dividend-history',
     '{symbol,date}', 'on-demand', null, 100000, 'symbol', null, 1, 1, false),
    ('shares-float', 'shares_float', 'fetched_at', 'is_data_stale_v2', 1440, 'shares-float',
     '{symbol,date}', 'on-demand', null, 500, 'symbol', 'source_timestamp', 1, 1, false),
    ('revenue-segmentation', 'revenue_product_segmentation', 'fetched_at', 'is_data_stale_v2', 525600, 'revenue-segmentation',
     '{symbol,fiscal_year,period,date}', 'on-demand', null, 150000, 'symbol', null, 1, 1, false),
    ('grades-historical', 'grades_historical', 'fetched_at', 'is_data_stale_v2', 43200, 'grades-historical',
     '{symbol,date}', 'on-demand', null, 30000, 'symbol', null, 1, 1, false),
    ('exchange-variants', 'exchange_variants', 'fetched_at', 'is_data_stale_v2', 1440, 'exchange-variants',
     '{symbol,symbol_variant,exchange_short_name}', 'on-demand', null, 80000, 'symbol', null, 1, 1, false),
    ('available-exchanges', 'available_exchanges', 'fetched_at', 'is_data_stale_v2', 1440, 'available-exchanges',
     '{exchange}', 'on-demand', null, 10000, null, null, 1, 1, false),
    ('exchange-market-status', 'exchange_market_status', 'fetched_at', 'is_data_stale_v2', 5, 'exchange-market-status',
     '{exchange}', 'scheduled', '*/5 * * * *', 20000, null, null, 1, 1, false)
on conflict do nothing;

insert into data_type_state_v2 (data_type)
select data_type from data_type_registry_v2
on conflict do nothing;
