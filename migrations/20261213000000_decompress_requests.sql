-- Whether the codings of requests' bodies are undone before they go on. Null: as the API's dialect has it.
alter table api add column decompress_requests boolean;
