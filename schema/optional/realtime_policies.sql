-- For Supabase projects: who may do what in the private channels that refreshd listens to. `refreshd migrate` does not
-- apply it, since realtime.messages belongs to Supabase: run it in the SQL editor, as often as you like.
--
-- Pages write their presence and read nobody's: a diff that everybody receives costs a message for each of them. Realtime
-- refuses a private join to whoever may read nothing at all, so pages may read broadcasts, of which there are none. The
-- daemon comes with the service role, which is above policies; its own topics (refreshd:...) match none of them.

drop policy if exists refreshd_pages_write_presence on realtime.messages;
create policy refreshd_pages_write_presence on realtime.messages
for insert to anon, authenticated
with check (
    extension = 'presence'
    and (select realtime.topic()) ~ '^(viewers:[0-9]{1,3}|symbol:[A-Z0-9^][A-Z0-9.^=-]{0,19})$'
);

drop policy if exists refreshd_pages_may_join on realtime.messages;
create policy refreshd_pages_may_join on realtime.messages
for select to anon, authenticated
using (
    extension = 'broadcast'
    and (select realtime.topic()) ~ '^(viewers:[0-9]{1,3}|symbol:[A-Z0-9^][A-Z0-9.^=-]{0,19})$'
);
