-- What follows an exchange's trading hours, and the parameters of the policy that the database itself applies.

alter table data_type_registry_v2 add column market_hours boolean not null default false;
comment on column data_type_registry_v2.market_hours is
    'Whether data of this type changes only while the symbol''s exchange trades: after the close, one fetch is fresh until it opens again.';
update data_type_registry_v2 set market_hours = true where data_type = 'quote';

alter table upstream_limits_v2
    add column first_view_share double precision not null default 0.1 check (first_view_share between 0 and 1),
    add column price_step double precision not null default 0.15 check (price_step > 0 and price_step <= 2);

create or replace view upstream_limits_in_force_v2 with (security_invoker = true) as
select
    upstream,
    min(calls_per_minute) as calls_per_minute,
    min(bytes_per_30_days) as bytes_per_30_days,
    count(distinct (calls_per_minute, bytes_per_30_days)) > 1
        or count(distinct (first_view_share, price_step)) > 1 as differ,
    min(first_view_share) as first_view_share,
    min(price_step) as price_step
from upstream_limits_v2
where seen_at > now() - interval '5 minutes'
group by upstream;

-- It takes more than before; it is written again after this file.
-- squawk-ignore ban-drop-function
drop function if exists announce_limits_v2(text, text, integer, bigint);
