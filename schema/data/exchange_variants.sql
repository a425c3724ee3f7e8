-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table exchange_variants (
    symbol text not null,
    symbol_variant text not null,
    exchange_short_name text not null,
    price numeric,
    beta numeric,
    vol_avg bigint,
    mkt_cap bigint,
    last_div numeric,
    range text,
    changes numeric,
    company_name text,
    currency text,
    cik text,
    isin text,
    cusip text,
    exchange text,
    industry text,
    website text,
    description text,
    ceo text,
    sector text,
    country text,
    full_time_employees bigint,
    phone text,
    address text,
    city text,
    state text,
    zip text,
    dcf_diff numeric,
    dcf numeric,
    image text,
    ipo_date date,
    default_image boolean,
    is_etf boolean,
    is_actively_trading boolean,
    is_adr boolean,
    is_fund boolean,
    fetched_at timestamptz not null default now(),
    primary key (symbol, symbol_variant, exchange_short_name)
);
comment on table exchange_variants is 'Written by refreshd: data type exchange-variants.';
comment on column exchange_variants.symbol is 'The symbol that was asked for.';
comment on column exchange_variants.exchange is 'The name of the exchange; exchange_short_name is its code, as exchange is in profiles.';

alter table exchange_variants enable row level security;
create policy refreshd_daemon on exchange_variants to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on exchange_variants for select using (true);
