-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table available_exchanges (
    exchange text primary key,
    name text,
    country_name text,
    country_code text,
    symbol_suffix text,
    delay text,
    fetched_at timestamptz not null default now()
);
comment on table available_exchanges is 'Written by refreshd: data type available-exchanges.';
comment on column available_exchanges.delay is 'Free text of the upstream.';

alter table available_exchanges enable row level security;
create policy refreshd_daemon on available_exchanges to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on available_exchanges for select using (true);
