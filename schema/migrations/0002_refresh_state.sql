-- What is known of every pair that was ever asked for. next_due_at alone decides what is due.

create table refresh_state_v2 (
    symbol text not null,
    data_type text not null references data_type_registry_v2 on delete cascade,
    last_success_at timestamptz,
    last_checked_at timestamptz,
    last_outcome text check (last_outcome in ('changed', 'unchanged', 'empty', 'rejected', 'failed')),
    consecutive_failures integer not null default 0 check (consecutive_failures >= 0),
    fresh_until timestamptz,
    next_due_at timestamptz,
    source_timestamp timestamptz,
    etag text,
    open_job_id uuid,
    primary key (symbol, data_type)
) with (fillfactor = 70);
comment on table refresh_state_v2 is
    'One row per pair. open_job_id is set where NULL, under the row''s lock, when a job is queued, and cleared by every end of the job.';
comment on column refresh_state_v2.next_due_at is 'fresh_until less the lead; NULL means due now.';

create view refresh_status_v2 as
select symbol, data_type, last_checked_at as checked_at, last_outcome as outcome, fresh_until
from refresh_state_v2;
comment on view refresh_status_v2 is 'What pages may know of a pair. Public, and therefore not a security-invoker view.';

alter table refresh_state_v2 enable row level security;
create policy refreshd_daemon on refresh_state_v2 to refreshd_daemon using (true) with check (true);
revoke all on refresh_state_v2, refresh_status_v2 from public;
grant select, insert, update on refresh_state_v2 to refreshd_daemon;
grant select on refresh_status_v2 to refreshd_daemon;
