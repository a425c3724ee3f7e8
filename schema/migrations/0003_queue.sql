-- The queue. Every move between partitions is DELETE ... RETURNING into INSERT: a status-moving UPDATE under SKIP LOCKED
-- fails with SQLSTATE 40001 when a concurrent transaction meets the moved tuple.

create table api_call_queue_v2 (
    id uuid not null default gen_random_uuid(),
    symbol text not null,
    data_type text not null,
    status text not null default 'pending',
    lane smallint not null check (lane between 0 and 2),
    priority integer not null,
    gain double precision not null,
    claims integer not null default 0 check (claims >= 0),
    resets integer not null default 0 check (resets >= 0),
    retry_count integer not null default 0 check (retry_count >= 0),
    max_retries integer not null default 3 check (max_retries >= 0),
    created_at timestamptz not null default now(),
    not_before timestamptz not null default now(),
    claimed_at timestamptz,
    finished_at timestamptz,
    lease_id uuid,
    lease_expires_at timestamptz,
    claimed_by text,
    estimated_data_size_bytes bigint not null default 0,
    actual_data_size_bytes bigint,
    outcome text,
    error_message text,
    job_metadata jsonb not null default '{}',
    primary key (id, status)
) partition by list (status);
comment on table api_call_queue_v2 is 'Refresh jobs, partitioned by status. At most one open job per pair: see refresh_state_v2.open_job_id.';
comment on column api_call_queue_v2.lane is '0 first view (never yet a success), 1 viewed, 2 scheduled; set at queueing.';
comment on column api_call_queue_v2.priority is 'Distinct viewers, or -1 for scheduled work.';
comment on column api_call_queue_v2.claims is 'Grows at every claim; ends a job that kills its workers.';
comment on column api_call_queue_v2.retry_count is 'Grows only when the job failed.';
comment on column api_call_queue_v2.claimed_by is 'instance/boot of the holder.';

create table api_call_queue_v2_pending partition of api_call_queue_v2 for values in ('pending') with (fillfactor = 70);
create table api_call_queue_v2_processing partition of api_call_queue_v2 for values in ('processing') with (fillfactor = 70);
create table api_call_queue_v2_completed partition of api_call_queue_v2 for values in ('completed');
create table api_call_queue_v2_failed partition of api_call_queue_v2 for values in ('failed');

-- Dead entries at the head of these two make claims slow: vacuum them often.
alter table api_call_queue_v2_pending set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0
);
alter table api_call_queue_v2_processing set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0
);

create unique index api_call_queue_v2_pending_pair on api_call_queue_v2_pending (symbol, data_type);
create unique index api_call_queue_v2_processing_pair on api_call_queue_v2_processing (symbol, data_type);
create index api_call_queue_v2_pending_order on api_call_queue_v2_pending (data_type, lane, gain desc, created_at);
create index api_call_queue_v2_processing_lease on api_call_queue_v2_processing (lease_expires_at);
create index api_call_queue_v2_completed_finished on api_call_queue_v2_completed (finished_at);
create index api_call_queue_v2_failed_finished on api_call_queue_v2_failed (finished_at);

alter table api_call_queue_v2 enable row level security;
alter table api_call_queue_v2_pending enable row level security;
alter table api_call_queue_v2_processing enable row level security;
alter table api_call_queue_v2_completed enable row level security;
alter table api_call_queue_v2_failed enable row level security;
create policy refreshd_daemon on api_call_queue_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on api_call_queue_v2_pending to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on api_call_queue_v2_processing to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on api_call_queue_v2_completed to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on api_call_queue_v2_failed to refreshd_daemon using (true) with check (true);
revoke all on api_call_queue_v2, api_call_queue_v2_pending, api_call_queue_v2_processing,
    api_call_queue_v2_completed, api_call_queue_v2_failed from public;
grant select, insert, update, delete on api_call_queue_v2, api_call_queue_v2_pending, api_call_queue_v2_processing,
    api_call_queue_v2_completed, api_call_queue_v2_failed to refreshd_daemon;
