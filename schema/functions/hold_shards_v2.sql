create or replace function hold_shards_v2(
    p_holder text,
    p_shards text[],
    p_seconds integer,
    p_status jsonb default '{}'
)
returns table (shard text, holder text, surplus boolean, seconds_left double precision)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    v_instance constant text := regexp_replace(p_holder, '/[^/]*$', '');
    v_now timestamptz;
begin
    if p_holder is null or octet_length(p_holder) not between 1 and 300 then
        raise exception 'p_holder must have from 1 to 300 bytes' using errcode = 'invalid_parameter_value';
    end if;
    if p_seconds is null or p_seconds not between 1 and 3600 then
        raise exception 'p_seconds must be from 1 to 3600, not %', coalesce(p_seconds::text, 'NULL')
            using errcode = 'invalid_parameter_value';
    end if;

    if exists (select from unnest(p_shards) as s (name) where octet_length(s.name) > 300) then
        raise exception 'a name in p_shards has more than 300 bytes' using errcode = 'invalid_parameter_value';
    end if;

    -- One at a time from here: the lease of the first shard is everybody's first lock.
    insert into leases_v2 as l (name, holder, expires_at)
    select distinct s.name, p_holder, '-infinity'::timestamptz
    from unnest(p_shards) as s (name)
    where s.name is not null
    order by s.name
    on conflict (name) do nothing;
    perform from leases_v2 l where l.name = any (p_shards) order by l.name for update;
    v_now := clock_timestamp();

    insert into listeners_v2 as b (holder, expires_at, reported_at, status)
    values (p_holder, v_now + make_interval(secs => p_seconds), v_now, coalesce(p_status, '{}'))
    on conflict (holder) do update
    set expires_at = excluded.expires_at, reported_at = excluded.reported_at, status = excluded.status;
    delete from listeners_v2 b
    where b.holder <> p_holder
      and (b.expires_at < v_now - interval '1 day' or regexp_replace(b.holder, '/[^/]*$', '') = v_instance);
    -- By hash, so that neighbours do not go together. Ours stay ours until somebody else has taken them; what an earlier
    -- life of this instance held is free.
    with named as (
        select
            l.name,
            split_part(l.name, ':', 1) as kind,
            l.holder = p_holder and l.expires_at > '-infinity' as ours,
            l.expires_at <= v_now or regexp_replace(l.holder, '/[^/]*$', '') = v_instance as free
        from leases_v2 l
        where l.name = any (p_shards)
    ),
    counted as (
        select
            n.*,
            row_number() over (partition by n.kind, n.ours, n.free order by md5(n.name)) as place,
            count(*) filter (where n.ours) over (partition by n.kind) as held
        from named n
    )
    update leases_v2 l
    set holder = p_holder, expires_at = v_now + make_interval(secs => p_seconds)
    from counted c
    join shard_shares_v2(p_holder, p_shards) s on s.kind = c.kind
    where c.name = l.name and (c.ours or (c.free and c.place <= s.share - c.held));

    return query
    with now_held as (
        select l.*, l.expires_at > v_now as held, split_part(l.name, ':', 1) as kind from leases_v2 l where l.name = any (p_shards)
    )
    select
        h.name,
        case when h.held then h.holder end,
        h.held and h.holder = p_holder
            and row_number() over (partition by h.kind, h.held and h.holder = p_holder order by md5(h.name)) > s.share,
        case when h.held then extract(epoch from h.expires_at - v_now)::double precision else 0 end
    from now_held h
    join shard_shares_v2(p_holder, p_shards) s on s.kind = h.kind
    order by h.name;
end
$$;
comment on function hold_shards_v2 is
    'One turn of a listener: says that it lives (and how it is), renews its leases, and takes free shards up to its share, see shard_shares_v2. Returns every shard with its holder (NULL where nobody), whether the caller has it beyond its share and should give it up, and the seconds until its lease ends.';
revoke all on function hold_shards_v2 from public;
grant execute on function hold_shards_v2 to refreshd_daemon;
