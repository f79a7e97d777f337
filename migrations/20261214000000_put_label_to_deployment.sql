-- Deployments have a label, which is one alone of its Api while it is set, and are kept for good where they are pinned.
alter table deployment
    add column label text check (char_length(label) between 1 and 128),
    add column pinned boolean not null default false,
    add column updated_at timestamptz not null default now(),
    add column revision bigint not null default 1,
    add constraint deployment_label_key unique (tenant_id, api_id, label);
create trigger count_change before update of description, label, pinned on deployment for each row execute function count_change();
