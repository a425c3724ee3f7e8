create or replace function retire_instance_v2(p_instance text)
returns void
language sql
volatile
set search_path = public, pg_temp
as $$
    delete from upstream_limits_v2 l where l.instance = p_instance
$$;
comment on function retire_instance_v2 is 'Withdraws the limits of an instance that stops, so that they hold nobody back any more.';
revoke all on function retire_instance_v2 from public;
grant execute on function retire_instance_v2 to refreshd_daemon;
