-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table revenue_product_segmentation (
    symbol text not null,
    fiscal_year integer not null,
    period text not null,
    date date not null,
    reported_currency text,
    data jsonb,
    fetched_at timestamptz not null default now(),
    primary key (symbol, fiscal_year, period, date)
);
comment on table revenue_product_segmentation is 'Written by refreshd: data type revenue-segmentation.';
comment on column revenue_product_segmentation.data is 'Revenue by segment.';

alter table revenue_product_segmentation enable row level security;
create policy refreshd_daemon on revenue_product_segmentation to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on revenue_product_segmentation for select using (true);
