-- Letters that are to be sent: written in the transaction of the change they tell of, taken by a job of whichever
-- replica comes first, gone when the mail server has them.
create table mail (
    id uuid primary key,
    tenant_id uuid references tenant (id),     -- null: about a user, whatever their tenants
    letter bytea not null,                     -- wrapped by the master key: it names people and may hold a link
    tries integer not null default 0,
    next_try_at timestamptz not null,
    created_at timestamptz not null
);
create index mail_next_try_idx on mail (next_try_at);

-- What a user's newest link of each kind is for; one that was used is gone.
create table user_link (
    user_id uuid not null references user_account (id) on delete cascade,
    purpose text not null check (purpose in ('verify_email', 'reset_password')),
    token_hash bytea not null,                 -- SHA-256
    email text not null check (char_length(email) between 3 and 254),
    mailed boolean not null,                   -- whether it went to that address, and to nobody else
    created_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (user_id, purpose),
    constraint user_link_token_hash_key unique (token_hash)
);

-- Who signed up and has not opened the link yet that was sent to them.
create table sign_up (
    token_hash bytea primary key,              -- SHA-256
    email text not null check (char_length(email) between 3 and 254),
    password_hash text not null,               -- argon2id, PHC form
    tenant_name text not null check (char_length(tenant_name) between 1 and 128),
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index sign_up_expires_idx on sign_up (expires_at);

alter table user_account add column email_verified_at timestamptz;   -- null: nobody has shown that it is theirs

alter table mail enable row level security;
alter table mail force row level security;
alter table user_link enable row level security;
alter table user_link force row level security;
alter table sign_up enable row level security;
alter table sign_up force row level security;
create policy own_tenant on mail for insert to tollgate_app with check (tenant_id = current_tenant_id());
create policy system on mail to tollgate_system using (true) with check (true);
create policy system on user_link to tollgate_system using (true) with check (true);
create policy system on sign_up to tollgate_system using (true) with check (true);
grant insert on mail to tollgate_app;
grant select, insert, update, delete on mail, user_link, sign_up to tollgate_system;
grant select (email_verified_at) on user_account to tollgate_app;
-- Who ends an account takes it out of every tenant.
grant delete on user_account to tollgate_system;
create policy system_delete on access_key for delete to tollgate_system using (true);
grant delete on access_key to tollgate_system;
-- What they deployed stays.
alter table deployment
    drop constraint deployment_created_by_fkey,
    add constraint deployment_created_by_fkey
        foreign key (created_by) references user_account (id) on delete set null;
