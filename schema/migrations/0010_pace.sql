-- Calls and bytes are spent at the pace that lasts: docs/decisions/0019.

alter table upstreams_v2 add column bytes_ceiling bigint;
comment on column upstreams_v2.bytes_ceiling is
    'How far the bytes of 30 days may have grown by now: written by every turn of the gate, ahead of them by what the pace allows. NULL: not known yet.';

create table estimates_v2 (
    estimate text not null check (estimate in ('session_seconds', 'lead_seconds')),
    subject text not null default '',
    mean double precision not null check (mean >= 0 and mean < 1e9),
    spread double precision not null default 0 check (spread >= 0 and spread < 1e9),
    observations double precision not null default 0 check (observations >= 0 and observations < 1e12),
    updated_at timestamptz not null default now(),
    primary key (estimate, subject)
) with (fillfactor = 50);
comment on table estimates_v2 is 'What the daemon has measured and must not forget: how long viewers stay, and by data type how long a refresh takes from claim to commit.';

alter table estimates_v2 enable row level security;
create policy refreshd_daemon on estimates_v2 to refreshd_daemon using (true) with check (true);
revoke all on estimates_v2 from public;
grant select, insert, update on estimates_v2 to refreshd_daemon;

-- They return or take more than before; they are written again after this file.
-- squawk-ignore ban-drop-function
drop function if exists upstream_usage_v2(text);
-- squawk-ignore ban-drop-function
drop function if exists choose_jobs_v2(text, integer, bigint, bigint, text[], uuid[]);
