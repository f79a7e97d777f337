-- When a backend that fails is left alone for a while; null: never. As the API writes it.
alter table integration
    add column circuit_breaker jsonb
        constraint integration_circuit_breaker_check check (jsonb_typeof(circuit_breaker) = 'object');
