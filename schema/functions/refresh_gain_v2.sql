create or replace function refresh_gain_v2(p_weight double precision, p_viewers integer, p_ttl_minutes integer)
returns double precision
language sql
immutable
set search_path = public, pg_temp
as $$
    select least(greatest(p_weight, 0), 1e6) * greatest(p_viewers, 0) * 260 * (1 - exp(greatest(-greatest(p_ttl_minutes, 0) * 60.0 / 260.0::double precision, -700)))
$$;
comment on function refresh_gain_v2 is
    'What a refresh is worth in weighted viewer-seconds, where the daemon did not say: weight x viewers x the watched seconds to be expected within one TTL, sessions being exponential with a mean of 260 s (a median of 3 minutes).';
revoke all on function refresh_gain_v2 from public;
grant execute on function refresh_gain_v2 to refreshd_daemon;
