-- Usage, added up as somebody asked, can be downloaded.
alter table download_token drop constraint download_token_document_check;
alter table download_token add constraint download_token_document_check
    check (document in ('usage_csv', 'audit_ndjson', 'tenant_export', 'usage_groups'));
