-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table grades_historical (
    symbol text not null,
    date date not null,
    analyst_ratings_strong_buy integer,
    analyst_ratings_buy integer,
    analyst_ratings_hold integer,
    analyst_ratings_sell integer,
    analyst_ratings_strong_sell integer,
    fetched_at timestamptz not null default now(),
    primary key (symbol, date)
);
comment on table grades_historical is 'Written by refreshd: data type grades-historical.';
comment on column grades_historical.date is 'The first day of the month.';

alter table grades_historical enable row level security;
create policy refreshd_daemon on grades_historical to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on grades_historical for select using (true);
