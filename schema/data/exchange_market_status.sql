-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table exchange_market_status (
    exchange text primary key,
    name text,
    opening_hour text,
    closing_hour text,
    opening_additional text,
    closing_additional text,
    timezone text,
    is_market_open boolean,
    holidays jsonb,
    holidays_checked_on date,
    fetched_at timestamptz not null default now()
);
comment on table exchange_market_status is 'Written by refreshd: data type exchange-market-status.';
comment on column exchange_market_status.opening_hour is 'Local time with its offset, such as 09:30 AM -04:00, or CLOSED.';
comment on column exchange_market_status.opening_additional is 'After a lunch break.';
comment on column exchange_market_status.timezone is 'IANA name.';
comment on column exchange_market_status.is_market_open is 'What the upstream said at fetched_at.';
comment on column exchange_market_status.holidays is 'The upstream''s records of days that are closed, or close early.';
comment on column exchange_market_status.holidays_checked_on is 'They are asked for once a day.';

alter table exchange_market_status enable row level security;
create policy refreshd_daemon on exchange_market_status to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on exchange_market_status for select using (true);
