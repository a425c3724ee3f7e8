-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table dividend_history (
    symbol text not null,
    date date not null,
    record_date date,
    payment_date date,
    declaration_date date,
    adj_dividend numeric,
    dividend numeric,
    yield numeric,
    frequency text,
    fetched_at timestamptz not null default now(),
    primary key (symbol, date)
);
comment on table dividend_history is 'Written by refreshd: data type dividend-history.';
comment on column dividend_history.date is 'The ex-dividend date.';
comment on column dividend_history.yield is 'In percent.';

alter table dividend_history enable row level security;
create policy refreshd_daemon on dividend_history to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on dividend_history for select using (true);
