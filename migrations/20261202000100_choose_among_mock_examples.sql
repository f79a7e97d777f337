-- The examples of a MOCK, which callers choose from: [{name, status, headers, mediaType, body}].
alter table integration
    add column mock_examples jsonb not null default '[]'
        constraint integration_mock_examples_check check (jsonb_typeof(mock_examples) = 'array');
