-- What the ledger did not take waits for the operator, who settles it; then it leaves in time.
alter table usage_quarantine
    add column id uuid not null default gen_random_uuid(),
    add column applied_in_part boolean,        -- null: an older release set it aside
    add column settled_at timestamptz,         -- null: it is open
    add column settled_note text check (char_length(settled_note) between 1 and 1024),
    add column settled_by uuid,                -- a user
    add constraint usage_quarantine_id_key unique (id),
    add constraint usage_quarantine_settled_check check ((settled_at is null) = (settled_note is null));
create index usage_quarantine_received_idx on usage_quarantine (received_at, id);
create index usage_quarantine_open_idx on usage_quarantine (received_at, id) where settled_at is null;
create index usage_quarantine_settled_idx on usage_quarantine (settled_at) where settled_at is not null;

-- A segment can be taken away to be examined.
alter table download_token drop constraint download_token_document_check;
alter table download_token add constraint download_token_document_check
    check (document in ('usage_csv', 'audit_ndjson', 'tenant_export', 'usage_groups', 'quarantined_segment'));
