-- How often a noun was changed, so that who changes it can say which state of it they saw.
create function count_change() returns trigger
    language plpgsql
    as $$ begin new.revision := old.revision + 1; return new; end $$;

alter table api add revision bigint not null default 1;
alter table route add revision bigint not null default 1;
alter table integration add revision bigint not null default 1;
alter table stage add revision bigint not null default 1;
alter table usage_plan add revision bigint not null default 1;
alter table api_key add revision bigint not null default 1;
alter table access_key add revision bigint not null default 1;
alter table member add revision bigint not null default 1;

create trigger count_change before update on api for each row execute function count_change();
create trigger count_change before update on route for each row execute function count_change();
create trigger count_change before update on integration for each row execute function count_change();
create trigger count_change before update on stage for each row execute function count_change();
create trigger count_change before update on usage_plan for each row execute function count_change();
create trigger count_change before update on api_key for each row execute function count_change();
create trigger count_change before update on member for each row execute function count_change();
-- Not when it is only used.
create trigger count_change before update of name, enabled on access_key for each row execute function count_change();
