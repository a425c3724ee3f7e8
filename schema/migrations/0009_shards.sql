-- Who listens to what, when there are several daemons: their heartbeats, and the symbol topics that they remember.

create table listeners_v2 (
    holder text primary key check (octet_length(holder) between 1 and 300),
    expires_at timestamptz not null,
    started_at timestamptz not null default now(),
    reported_at timestamptz not null default now(),
    status jsonb not null default '{}'
) with (fillfactor = 50);
comment on table listeners_v2 is
    'Daemons that listen to presence, by holder (instance/boot): the shards are divided by those that have not expired. status is what `refreshd presence` shows.';

create table symbol_topics_v2 (
    topic text primary key check (topic ~ '^symbol:[A-Z0-9^][A-Z0-9.^=-]{0,19}$'),
    named_at timestamptz not null default now(),
    viewed_at timestamptz
) with (fillfactor = 50);
comment on table symbol_topics_v2 is 'Topics of single symbols that a page asked for, remembered for 24 h: Realtime cannot list them.';
comment on column symbol_topics_v2.named_at is 'When a page last asked for it.';
comment on column symbol_topics_v2.viewed_at is 'When it last had viewers.';

alter table listeners_v2 enable row level security;
alter table symbol_topics_v2 enable row level security;
create policy refreshd_daemon on listeners_v2 to refreshd_daemon using (true) with check (true);
create policy refreshd_daemon on symbol_topics_v2 to refreshd_daemon using (true) with check (true);
revoke all on listeners_v2, symbol_topics_v2 from public;
grant select, insert, update, delete on listeners_v2, symbol_topics_v2 to refreshd_daemon;

-- What a new owner of a source remembers is read viewer by viewer.
-- squawk-ignore require-concurrent-index-creation
create index active_subscriptions_v2_source_user on active_subscriptions_v2 (source, user_id);
-- squawk-ignore require-concurrent-index-deletion
drop index active_subscriptions_v2_source;

-- Sources are vouched for in one call, by whoever owns their shards.
-- squawk-ignore ban-drop-function
drop function if exists touch_subscriptions_v2(text, timestamptz);
