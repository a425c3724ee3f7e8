-- The first thing that is applied. Never edited, like a migration: exported files carry this text.

create table refreshd_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
);
comment on table refreshd_migrations is 'The ledger of refreshd migrate: which migrations this database has.';
alter table refreshd_migrations enable row level security;
create policy refreshd_daemon on refreshd_migrations for select to refreshd_daemon using (true);
revoke all on refreshd_migrations from public;
grant select on refreshd_migrations to refreshd_daemon;
