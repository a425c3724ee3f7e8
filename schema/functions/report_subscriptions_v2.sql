create or replace function report_subscriptions_v2(p_holder text, p_shard text, p_source text, p_joined jsonb, p_left jsonb)
returns boolean
language plpgsql
volatile
set search_path = public, pg_temp
as $$
begin
    -- Locked, so that nobody takes the shard over before this is committed.
    perform from leases_v2 l where l.name = p_shard for share;
    if exists (
        select from leases_v2 l
        where l.name = p_shard and l.holder is distinct from p_holder and l.expires_at > clock_timestamp()
    ) then
        return false;
    end if;
    perform refresh_analytics_from_presence_v2(p_source, p_joined, p_left);
    return true;
end
$$;
comment on function report_subscriptions_v2 is
    'Applies a batch of changes of one source (see refresh_analytics_from_presence_v2) unless its shard belongs to another listener by now. Returns whether it did.';
revoke all on function report_subscriptions_v2 from public;
grant execute on function report_subscriptions_v2 to refreshd_daemon;
