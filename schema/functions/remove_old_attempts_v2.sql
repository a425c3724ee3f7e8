create or replace function remove_old_attempts_v2(p_before timestamptz, p_most_rows integer)
returns bigint
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_removed bigint;
begin
    with old as (
        select u.id
        from api_data_usage_v2 u
        where u.rolled_up and u.reserved_at < p_before
        order by u.id
        limit greatest(p_most_rows, 0)
        for update skip locked
    )
    delete from api_data_usage_v2 u using old o where u.id = o.id;
    get diagnostics v_removed = row_count;
    return v_removed;
end
$$;
comment on function remove_old_attempts_v2 is
    'Removes attempts reserved before a time, the oldest first; their hours keep the sums. Returns how many.';
revoke all on function remove_old_attempts_v2 from public;
grant execute on function remove_old_attempts_v2 to refreshd_daemon;
