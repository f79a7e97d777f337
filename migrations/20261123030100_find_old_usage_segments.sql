-- That a segment was taken is forgotten in time. Rows come in its order, so an insert finds its page at the end.
create index usage_segment_received_idx on usage_segment (received_at);
