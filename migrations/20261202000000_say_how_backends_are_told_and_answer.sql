-- What a backend is told of callers, and how its answers reach them; empty: as the Api's dialect has it. `transfer_mode` is in
-- the place of `response_transfer_mode`, which nothing ever read and which cannot say that.
alter table integration
    add column forwarded text not null default ''
        constraint integration_forwarded_check check (forwarded in ('', 'APPEND', 'REPLACE', 'REMOVE')),
    add column transfer_mode text not null default ''
        constraint integration_transfer_mode_check check (transfer_mode in ('', 'BUFFERED', 'STREAM'));
