-- The event that an AWS_PROXY integration's function gets: AWS's payload format 1.0 or 2.0. Other types say 1.0, as in AWS.
alter table integration
    add constraint integration_payload_format_version_check check (payload_format_version in ('1.0', '2.0'));
