-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table profiles (
    symbol text primary key,
    company_name text not null,
    price numeric,
    market_cap bigint,
    beta numeric,
    last_dividend numeric,
    range text,
    change numeric,
    change_percentage numeric,
    volume bigint,
    average_volume bigint,
    currency text,
    cik text,
    isin text,
    cusip text,
    exchange_full_name text,
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
    image text,
    ipo_date date,
    default_image boolean,
    is_etf boolean,
    is_actively_trading boolean,
    is_adr boolean,
    is_fund boolean,
    modified_at timestamptz not null default now()
);
comment on table profiles is 'Written by refreshd: data type profile.';

alter table profiles enable row level security;
create policy refreshd_daemon on profiles to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on profiles for select using (true);
