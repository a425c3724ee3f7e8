create or replace function observe_move_v2(p_data_type text, p_sample_seconds double precision)
returns table (
    flag_is_on boolean,
    queue_is_on boolean,
    is_held boolean,
    watched_seconds double precision,
    sampled_seconds_ago double precision,
    sampled_seconds double precision,
    completed bigint,
    failed bigint,
    viewed bigint,
    fresh bigint,
    ttl_seconds double precision,
    overdue_symbol text,
    overdue_seconds double precision,
    schedule_overdue_seconds double precision,
    pending_everywhere bigint,
    bytes_share double precision,
    symbols_at_start integer,
    missing_symbols text[],
    active_old_jobs text[]
)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_move migration_phases_v2;
begin
    if p_sample_seconds is null or p_sample_seconds not between 0 and 86400 then
        raise exception 'p_sample_seconds must be from 0 to 86400' using errcode = 'invalid_parameter_value';
    end if;
    select * into v_move from migration_phases_v2 m where m.data_type = p_data_type;
    return query
    select
        t.is_on,
        exists (select from feature_flags q where q.flag_name = 'use_queue_system' and q.enabled),
        coalesce(v_move.held_until > clock_timestamp(), false),
        extract(epoch from clock_timestamp() - greatest(v_move.started_at, v_move.held_until))::double precision,
        extract(epoch from clock_timestamp() - a.at)::double precision,
        a.seconds,
        a.completed,
        a.failed,
        a.viewed,
        a.fresh,
        r.default_ttl_minutes * 60.0::double precision,
        o.symbol,
        o.seconds,
        case when r.refresh_strategy = 'scheduled' and d.next_scheduled_at is not null
             then extract(epoch from clock_timestamp() - greatest(d.next_scheduled_at, v_move.held_until))::double precision end,
        (select count(*) from api_call_queue_v2_pending),
        (select max(u.bytes_in_30_days::double precision / l.bytes_per_30_days)
         from upstream_limits_in_force_v2 l
         cross join lateral upstream_usage_v2(l.upstream) u
         where l.upstream = r.upstream),
        v_move.symbols_at_start,
        missing_symbols_v2(p_data_type),
        active_cron_jobs_v2(v_move.old_jobs)
    from data_type_registry_v2 r
    join type_flags_v2 t on t.data_type = r.data_type
    left join data_type_state_v2 d on d.data_type = r.data_type
    cross join lateral (
        select
            max(s.at) as at,
            coalesce(sum(least(s.gap, 2 * p_sample_seconds)), 0)::double precision as seconds,
            coalesce(sum(s.completed) filter (where s.at > clock_timestamp() - interval '24 hours'), 0)::bigint as completed,
            coalesce(sum(s.failed) filter (where s.at > clock_timestamp() - interval '24 hours'), 0)::bigint as failed,
            -- At first, what the old system left stale is worked off.
            coalesce(sum(s.viewed) filter (where s.number > 5 and s.at > clock_timestamp() - interval '1 hour'), 0)::bigint
                as viewed,
            coalesce(sum(s.fresh) filter (where s.number > 5 and s.at > clock_timestamp() - interval '1 hour'), 0)::bigint
                as fresh
        from (
            select m.*, row_number() over (order by m.at) as number,
                   extract(epoch from m.at - lag(m.at, 1, greatest(v_move.started_at, v_move.held_until)) over (order by m.at))
                       as gap
            from migration_samples_v2 m
            where m.data_type = r.data_type
        ) s
    ) a
    left join lateral (
        select
            w.symbol,
            extract(epoch from clock_timestamp() - greatest(s.next_due_at, w.since, v_move.started_at, v_move.held_until))
                ::double precision as seconds
        from (
            select v.symbol, min(v.subscribed_at) as since
            from active_subscriptions_v2 v
            where v.data_type = r.data_type
            group by v.symbol
        ) w
        left join refresh_state_v2 s on s.symbol = w.symbol and s.data_type = r.data_type
        order by 2 desc
        limit 1
    ) o on true
    where r.data_type = p_data_type;
end
$$;
comment on function observe_move_v2 is
    'What the gates of a moved type are judged by, looked at every p_sample_seconds: its samples of 24 hours (jobs) and of one hour (freshness, without the first five), the viewed pair that is overdue longest, the queue, the bytes, symbols without rows, and old jobs that are active (NULL: not to be seen).';
revoke all on function observe_move_v2 from public;
grant execute on function observe_move_v2 to refreshd_daemon;
