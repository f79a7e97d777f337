-- A user is a person, one per email in the whole installation; a member is that person in a tenant.
create table user_account (
    id uuid primary key,
    email text not null check (char_length(email) between 3 and 254),
    password_hash text not null,      -- argon2id, PHC form
    operator boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index user_account_email_key on user_account (lower(email));

create table member (
    tenant_id uuid not null references tenant (id),
    user_id uuid not null references user_account (id),
    role text not null check (role in ('owner', 'admin', 'developer', 'billing', 'viewer')),
    created_at timestamptz not null default now(),
    primary key (tenant_id, user_id)
);
create index member_user_idx on member (user_id);

alter table member enable row level security;
alter table member force row level security;
create policy own_tenant on member to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on member to tollgate_system using (true) with check (true);

-- A tenant sees who its members are, never how they log in: the columns are granted one by one.
alter table user_account enable row level security;
alter table user_account force row level security;
create policy fellow_members on user_account for select to tollgate_app
    using (exists (select 1 from member m where m.user_id = user_account.id and m.tenant_id = current_tenant_id()));
create policy system on user_account to tollgate_system using (true) with check (true);

grant select (id, email, created_at) on user_account to tollgate_app;
grant select, insert, update, delete on member to tollgate_app;
grant select, insert, update on user_account to tollgate_system;
grant select, insert, update, delete on member to tollgate_system;
