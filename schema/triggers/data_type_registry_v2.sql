create or replace trigger check_row
before insert or update on data_type_registry_v2
for each row execute function check_registry_row_v2();

create or replace trigger follow_row
after insert or update or delete on data_type_registry_v2
for each row execute function follow_registry_row_v2();
