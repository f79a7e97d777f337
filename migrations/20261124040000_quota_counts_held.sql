-- Calls that nodes took from a quota ahead, and of which none had said what became of them when the count was read.
alter table reconciliation add column held bigint not null default 0 check (held >= 0);
