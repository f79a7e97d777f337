-- Which traces of a stage's calls are kept, in order: the first rule that names a call's route decides.
alter table stage add column sampling_rules jsonb not null default '[]';
