create or replace function return_probe_v2(p_upstream text, p_probe_id uuid)
returns void
language sql
volatile
set search_path = public, pg_temp
as $$
    update upstreams_v2 u
    set probe_id = null, probe_expires_at = null
    where u.upstream = p_upstream and u.probe_id = p_probe_id
$$;
comment on function return_probe_v2 is 'Gives back a probe that was not used, so that the next caller can probe at once.';
revoke all on function return_probe_v2 from public;
grant execute on function return_probe_v2 to refreshd_daemon;
