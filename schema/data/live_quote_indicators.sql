-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table live_quote_indicators (
    symbol text primary key,
    name text,
    price numeric not null,
    change_percentage numeric,
    change numeric,
    volume bigint,
    day_low numeric,
    day_high numeric,
    year_high numeric,
    year_low numeric,
    market_cap bigint,
    price_avg_50 numeric,
    price_avg_200 numeric,
    exchange text,
    open numeric,
    previous_close numeric,
    source_timestamp timestamptz,
    fetched_at timestamptz not null default now()
);
comment on table live_quote_indicators is 'Written by refreshd: data type quote.';

alter table live_quote_indicators enable row level security;
create policy refreshd_daemon on live_quote_indicators to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on live_quote_indicators for select using (true);
