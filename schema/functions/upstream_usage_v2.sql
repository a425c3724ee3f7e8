create or replace function upstream_usage_v2(p_upstream text)
returns table (
    calls_in_window bigint,
    bytes_in_30_days bigint,
    oldest_call_at timestamptz,
    calls_lately bigint,
    oldest_lately_at timestamptz
)
language sql
volatile
set search_path = public, pg_temp
as $$
    select
        coalesce(sum(u.calls) filter (where u.reserved_at > clock_timestamp() - interval '62 seconds'), 0),
        coalesce(sum(u.bytes), 0)::bigint + (
            select coalesce(sum(h.bytes), 0)::bigint
            from api_usage_hours_v2 h
            where h.upstream = p_upstream and h.hour > now() - interval '30 days 1 hour'
        ),
        min(u.reserved_at) filter (where u.calls > 0 and u.reserved_at > clock_timestamp() - interval '62 seconds'),
        coalesce(sum(u.calls) filter (where u.reserved_at > clock_timestamp() - interval '6.2 seconds'), 0),
        min(u.reserved_at) filter (where u.calls > 0 and u.reserved_at > clock_timestamp() - interval '6.2 seconds')
    from api_data_usage_v2 u
    where u.upstream = p_upstream and not u.rolled_up
$$;
comment on function upstream_usage_v2 is
    'Calls of the last 62 s (60, and the 2 s within which a reservation must be sent) and of the last tenth of that, and bytes of the last 30 days, open reservations included. Reads minutes of rows and at most 721 hours, whatever the history.';
revoke all on function upstream_usage_v2 from public;
grant execute on function upstream_usage_v2 to refreshd_daemon;
