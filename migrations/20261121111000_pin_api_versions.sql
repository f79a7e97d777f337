-- A session speaks the version of the API that was the newest when it began, until it names another: what a program
-- was written against stays as it was.
alter table session add column api_version date not null default '2026-11-20';
