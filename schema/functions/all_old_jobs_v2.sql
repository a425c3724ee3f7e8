create or replace function all_old_jobs_v2(p_before jsonb, p_now jsonb)
returns jsonb
language sql
immutable
set search_path = public, pg_temp
as $$
    select p_before || coalesce(jsonb_agg(n.job order by n.place), '[]')
    from jsonb_array_elements(p_now) with ordinality as n (job, place)
    where not exists (select from jsonb_array_elements(p_before) b where b = n.job)
$$;
comment on function all_old_jobs_v2 is 'Old jobs that were about to be paused, and those that are now: what was paused once has to be resumed.';
revoke all on function all_old_jobs_v2 from public;
grant execute on function all_old_jobs_v2 to refreshd_daemon;
