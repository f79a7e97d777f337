-- Whether callers of an Api may name another method by `X-HTTP-Method-Override`; null: as its dialect has it.
alter table api add column method_override boolean;
