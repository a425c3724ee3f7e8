-- A firing of a schedule opens a round over all active symbols, which may take several turns.

alter table data_type_state_v2 add column schedule_cursor text;
comment on column data_type_state_v2.next_scheduled_at is
    'When the schedule fires next, computed by the daemon; NULL where it has to be computed anew. Stays in the past until the round is over.';
comment on column data_type_state_v2.schedule_cursor is 'The last symbol that the round has come to; NULL before its first.';
