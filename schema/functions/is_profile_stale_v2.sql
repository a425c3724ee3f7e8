create or replace function is_profile_stale_v2(p_modified_at timestamptz, p_ttl_minutes integer)
returns boolean
language sql
stable
set search_path = public, pg_temp
as $$
    select is_data_stale_v2(p_modified_at, p_ttl_minutes)
$$;
comment on function is_profile_stale_v2 is 'is_data_stale_v2 under the name that the plan gave it for profiles, whose timestamp is modified_at.';
revoke all on function is_profile_stale_v2 from public;
grant execute on function is_profile_stale_v2 to refreshd_daemon;
