create or replace function lock_job_pairs_v2(p_job_ids uuid[])
returns void
language sql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select
    from refresh_state_v2 s
    join api_call_queue_v2_processing q on q.symbol = s.symbol and q.data_type = s.data_type
    where q.id = any (p_job_ids)
    order by s.symbol, s.data_type
    for update of s
$$;
comment on function lock_job_pairs_v2 is
    'Locks the state rows of claimed jobs in the one order of all locks. A transaction that ends several jobs calls it first, with all of them.';
revoke all on function lock_job_pairs_v2 from public;
grant execute on function lock_job_pairs_v2 to refreshd_daemon;
