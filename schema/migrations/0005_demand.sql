-- Who is looking at what, as the presence sessions report it.

create table active_subscriptions_v2 (
    user_id text not null check (octet_length(user_id) <= 300),
    symbol text not null,
    data_type text not null,
    source text not null,
    subscribed_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (symbol, data_type, user_id, source)
) with (fillfactor = 45);
comment on table active_subscriptions_v2 is
    'The aggregate of presence. user_id is the viewer (user:ID or conn:KEY:REF), source the shard or topic that reported it.';
-- Not last_seen_at: a touch changes nothing but that, and stays a heap-only update in the space that fillfactor leaves.
create index active_subscriptions_v2_source on active_subscriptions_v2 (source);

create view viewers_v2 with (security_invoker = true) as
select symbol, data_type, count(distinct user_id)::integer as viewers
from active_subscriptions_v2
group by symbol, data_type;
comment on view viewers_v2 is 'Distinct viewers per pair, over all sources.';

create table leases_v2 (
    name text primary key,
    holder text not null,
    expires_at timestamptz not null
) with (fillfactor = 50);
comment on table leases_v2 is 'Who owns what several daemons could do: shards, groups of symbol topics, periodic work.';

alter table active_subscriptions_v2 enable row level security;
alter table leases_v2 enable row level security;
create policy refreshd_daemon on active_subscriptions_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on leases_v2 to refreshd_daemon using (true) with check (true);
revoke all on active_subscriptions_v2, viewers_v2, leases_v2 from public;
grant select, insert, update, delete on active_subscriptions_v2, leases_v2 to refreshd_daemon;
grant select on viewers_v2 to refreshd_daemon;
