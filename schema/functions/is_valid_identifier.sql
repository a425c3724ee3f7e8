create or replace function is_valid_identifier(p_name text)
returns boolean
language sql
immutable
set search_path = public, pg_temp
as $$
    select coalesce(p_name ~ '^[A-Za-z_][A-Za-z0-9_]*$' and p_name !~ '\n' and octet_length(p_name) <= 63, false)
$$;
comment on function is_valid_identifier is 'True for a plain SQL name of up to 63 bytes; false for NULL, the empty string and everything else.';
revoke all on function is_valid_identifier from public;
grant execute on function is_valid_identifier to refreshd_daemon;
