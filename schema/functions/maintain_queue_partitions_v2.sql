create or replace function maintain_queue_partitions_v2(p_most_rows integer default 10000)
returns jsonb
language plpgsql
volatile
set search_path = public, pg_temp
set lock_timeout = '1s'
as $$
declare
    v_step record;
    v_removed bigint;
    v_report jsonb := jsonb '{"more": false, "not_done": []}';
begin
    if p_most_rows is null or p_most_rows < 1 then
        raise exception 'maintenance removes at least one row of each kind at a time, not %', coalesce(p_most_rows::text, 'NULL')
            using errcode = 'invalid_parameter_value';
    end if;

    for v_step in
        select * from (values ('completed', interval '7 days'), ('failed', interval '30 days'), ('attempts', interval '30 days'))
            as s (name, kept)
    loop
        begin
            v_removed := case v_step.name
                when 'attempts' then remove_old_attempts_v2(now() - v_step.kept, p_most_rows)
                else remove_old_jobs_v2(v_step.name, now() - v_step.kept, p_most_rows)
            end;
            v_report := jsonb_set(v_report, array[v_step.name], to_jsonb(v_removed));
            if v_removed = p_most_rows then
                v_report := jsonb_set(v_report, '{more}', 'true');
            end if;
        exception
            when lock_not_available or deadlock_detected then
                v_report := jsonb_set(v_report, '{not_done}',
                    (v_report -> 'not_done') || to_jsonb(format('%s: %s', v_step.name, sqlerrm)));
        end;
    end loop;
    return v_report;
end
$$;
comment on function maintain_queue_partitions_v2 is
    'Removes completed jobs after 7 days, failed ones and upstream attempts after 30, at most p_most_rows of each kind a call and never waiting more than a second for a lock; job_summaries_v2 keeps their sums. Returns {completed, failed, attempts, more, not_done}: rows removed, whether to call again, and what could not be done.';
revoke all on function maintain_queue_partitions_v2 from public;
grant execute on function maintain_queue_partitions_v2 to refreshd_daemon;
