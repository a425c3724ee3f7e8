-- The order of claims is gain by cost, with a share for first views, oldest first: docs/decisions/0013.
-- Pending jobs are few enough to be indexed within a second, and a migration is one transaction.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, ban-drop-constraint

drop index api_call_queue_v2_pending_order;
create index api_call_queue_v2_pending_viewed on api_call_queue_v2_pending (data_type, gain desc, created_at)
    where lane < 2;
create index api_call_queue_v2_pending_first_views on api_call_queue_v2_pending (created_at) where lane = 0;
create index api_call_queue_v2_pending_scheduled on api_call_queue_v2_pending (data_type, created_at) where lane = 2;

alter table upstreams_v2 add column prices_adapted_at timestamptz not null default now();
comment on column upstreams_v2.price_calls is 'What a call costs; 1 at the start, follows how much of the calls a minute is used.';
comment on column upstreams_v2.price_bytes is 'What the bytes that the budgets leave for one call cost; 1 at the start, follows how much of them is used.';

-- Two updates per refresh stay heap-only. The registry is deleted from by hand, once in years: its trigger clears what hung on
-- it, and no insert here has to lock its row.
alter table refresh_state_v2 set (fillfactor = 50);
alter table refresh_state_v2 drop constraint refresh_state_v2_data_type_fkey;
