create or replace function sample_moves_v2(p_least_seconds double precision)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_samples integer;
begin
    if p_least_seconds is null or p_least_seconds not between 0 and 86400 then
        raise exception 'p_least_seconds must be from 0 to 86400' using errcode = 'invalid_parameter_value';
    end if;
    if not pg_try_advisory_xact_lock(47) then
        return 0;
    end if;
    insert into migration_samples_v2 (data_type, at, completed, failed, viewed, fresh)
    select
        m.data_type,
        clock_timestamp(),
        (select count(*) from api_call_queue_v2_completed c
         where c.data_type = m.data_type and c.finished_at > l.at and c.finished_at <= clock_timestamp()),
        (select count(*) from api_call_queue_v2_failed f
         where f.data_type = m.data_type and f.finished_at > l.at and f.finished_at <= clock_timestamp()),
        v.viewed,
        v.fresh
    from migration_phases_v2 m
    cross join lateral (
        select coalesce(max(s.at), greatest(m.started_at, m.held_until)) as at
        from migration_samples_v2 s
        where s.data_type = m.data_type
    ) l
    cross join lateral (
        select count(*) as viewed, count(*) filter (where s.fresh_until > clock_timestamp()) as fresh
        from viewers_v2 w
        left join refresh_state_v2 s on s.symbol = w.symbol and s.data_type = w.data_type
        where w.data_type = m.data_type
    ) v
    where m.phase = 'watched'
      and l.at < clock_timestamp() - make_interval(secs => p_least_seconds);
    get diagnostics v_samples = row_count;
    return v_samples;
end
$$;
comment on function sample_moves_v2 is
    'Looks once at every moved type that is watched, unless somebody did within p_least_seconds; single-flight by lock 47. Returns the number of samples.';
revoke all on function sample_moves_v2 from public;
grant execute on function sample_moves_v2 to refreshd_daemon;
