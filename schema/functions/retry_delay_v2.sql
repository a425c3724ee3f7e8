create or replace function retry_delay_v2(p_retry_count integer)
returns interval
language sql
volatile
set search_path = public, pg_temp
as $$
    select make_interval(secs => random() * least(900, 5 * power(2, least(greatest(p_retry_count, 0), 10))))
$$;
comment on function retry_delay_v2 is 'Back-off with full jitter: uniform between 0 and 5 s x 2^n, at most 15 minutes.';
revoke all on function retry_delay_v2 from public;
grant execute on function retry_delay_v2 to refreshd_daemon;
