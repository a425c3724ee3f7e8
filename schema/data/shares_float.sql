-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table shares_float (
    symbol text not null,
    date date not null,
    free_float numeric,
    float_shares bigint,
    outstanding_shares bigint,
    source text,
    source_timestamp timestamptz,
    fetched_at timestamptz not null default now(),
    primary key (symbol, date)
);
comment on table shares_float is 'Written by refreshd: data type shares-float.';
comment on column shares_float.date is 'The day of source_timestamp, in UTC.';
comment on column shares_float.free_float is 'In percent.';

alter table shares_float enable row level security;
create policy refreshd_daemon on shares_float to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on shares_float for select using (true);
