-- A replica is ready once the tables are those it was built for, which it sees in sqlx's list of migrations.
-- (The list is absent where somebody applied the files by hand.)
do $$ begin
    if to_regclass('_sqlx_migrations') is not null then
        grant select on _sqlx_migrations to tollgate_system;
    end if;
end $$;
