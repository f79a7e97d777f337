-- When a call is sent to its backend again; null: only where it surely had no effect. As the API writes it.
alter table integration
    add column retry_policy jsonb
        constraint integration_retry_policy_check check (jsonb_typeof(retry_policy) = 'object');
