-- What an HTTP_PROXY integration speaks to its backend; gRPC's speak HTTP/2 alone.
alter table integration
    add column protocol_version text not null default 'HTTP1'
        constraint integration_protocol_version_check check (protocol_version in ('HTTP1', 'HTTP2'));
