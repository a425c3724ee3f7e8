create or replace function paced_calls_v2(p_calls_per_minute integer, p_calls_in_window bigint, p_calls_lately bigint)
returns bigint
language sql
immutable
set search_path = public, pg_temp
as $$
    select greatest(0, least(
        w.calls_left,
        greatest(10, ceil(p_calls_per_minute / 10.0), floor(w.calls_left / 2)) - greatest(p_calls_lately, 0)
    ))::bigint
    from (select p_calls_per_minute::numeric - greatest(p_calls_in_window, 0) as calls_left) w
$$;
comment on function paced_calls_v2 is
    'How many calls to claim now: what the window of 62 s has left, and of it within 6.2 s no more than a tenth of the limit (ten calls where that is less), or half of what is left where that is more. A burst is spread before the window is empty, so that what matters most never waits for a minute.';
revoke all on function paced_calls_v2 from public;
grant execute on function paced_calls_v2 to refreshd_daemon;
