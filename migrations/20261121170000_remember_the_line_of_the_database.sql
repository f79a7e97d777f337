-- Which line of the database's history a cell's versions belong to: the server's identity and its timeline. Another one
-- than the server's own tells that it was restored or promoted, so that nodes may hold versions that it never saw.
-- Null: not looked at yet.
alter table cell add column line text;
