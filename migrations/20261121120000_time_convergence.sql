-- How long a deployment takes to each node is told: when its version was committed, and when each node had it.
-- These moments are the database's, the one clock that every replica shares.
alter table deployment add column published_at timestamptz;

-- When the node was last seen to come, new or back: what it took before that it takes no longer.
alter table node add column connected_at timestamptz not null default clock_timestamp();

-- The moment at which a node had everything up to and with this version. Kept for days.
create table node_acknowledgement (
    node_id uuid not null references node (id) on delete cascade,
    cell_id text not null references cell (id),
    version bigint not null,
    acknowledged_at timestamptz not null default clock_timestamp(),
    connected_at timestamptz not null,         -- as the node's was then
    primary key (node_id, cell_id, version)
);
create index node_acknowledgement_acknowledged_at_idx on node_acknowledgement using brin (acknowledged_at);

alter table node_acknowledgement enable row level security;
alter table node_acknowledgement force row level security;
create policy system on node_acknowledgement to tollgate_system using (true) with check (true);
grant select, insert, delete on node_acknowledgement to tollgate_system;
