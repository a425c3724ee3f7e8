-- Applied only where no table of this name exists: one that an older system left is used as it is.

create table financial_statements (
    symbol text not null,
    date date not null,
    period text not null,
    fiscal_year integer,
    reported_currency text,
    cik text,
    filing_date date,
    accepted_date timestamptz,
    income_statement jsonb,
    balance_sheet_statement jsonb,
    cash_flow_statement jsonb,
    fetched_at timestamptz not null default now(),
    primary key (symbol, date, period)
);
comment on table financial_statements is 'Written by refreshd: data type financial-statements.';
comment on column financial_statements.date is 'End of the fiscal period.';
comment on column financial_statements.accepted_date is 'When the newest of the three statements was accepted by the regulator.';
comment on column financial_statements.income_statement is 'The upstream''s record as it is, NULL where it has none; the same for the other two.';

alter table financial_statements enable row level security;
create policy refreshd_daemon on financial_statements to refreshd_daemon using (true) with check (true);
create policy refreshd_readers on financial_statements for select using (true);
