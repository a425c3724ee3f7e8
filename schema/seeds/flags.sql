insert into feature_flags (flag_name)
values ('use_queue_system'), ('use_presence_tracking'), ('use_new_staleness_check')
on conflict do nothing;

insert into feature_flags (flag_name)
select 'migrate_' || replace(data_type, '-', '_') || '_type'
from data_type_registry_v2
where not is_moved_for_good_v2(data_type)
on conflict do nothing;
