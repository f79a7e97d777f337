-- A cell is the unit of configuration streams: its version counts the changes that its nodes apply in order.
create table cell (
    id text primary key check (id ~ '^[a-z0-9-]{1,32}$'),
    version bigint not null default 0,
    created_at timestamptz not null default now()
);

insert into cell (id) values ('default');

-- The change itself, whole, as nodes will get it. Written as the last step of the transaction that made it.
create table outbox (
    cell_id text not null references cell (id),
    version bigint not null,
    message bytea not null,
    created_at timestamptz not null default now(),
    primary key (cell_id, version)
);

alter table cell enable row level security;
alter table cell force row level security;
alter table outbox enable row level security;
alter table outbox force row level security;
create policy system on cell to tollgate_system using (true) with check (true);
create policy system on outbox to tollgate_system using (true) with check (true);
grant select on cell to tollgate_app;
grant update (version) on cell to tollgate_app;
grant insert on outbox to tollgate_app;
grant select, update on cell to tollgate_system;
grant select, insert, delete on outbox to tollgate_system;
