-- What one request changed: the audit log is asked for it by a request's id.
create index audit_entry_request_idx on audit_entry
    (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), request_id, created_at, id);
