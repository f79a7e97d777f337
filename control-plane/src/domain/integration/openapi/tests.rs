use serde_json::json;

use super::*;

fn made(schema: &Value) -> Value {
    let operation = json!({ "responses": { "200": { "content": { "application/json": { "schema": schema } } } } });
    let examples = examples(&operation).unwrap();
    assert_eq!(examples.len(), 1);
    serde_json::from_str(&examples[0].body).unwrap()
}

#[test]
fn what_is_written_as_an_example_is_taken() {
    let operation = json!({
        "operationId": "getPet",
        "responses": {
            "404": { "content": { "application/problem+json": { "examples": {
                "unknown": { "value": { "code": "unknown" } },
                "gone": { "$ref": "#/components/examples/gone" },
            } } } },
            "default": { "description": "whatever" },
            "200": {
                "headers": {
                    "X-Rate": { "schema": { "type": "integer", "minimum": 5 } },
                    "X-Tag": { "example": "a" },
                    "Content-Type": { "example": "text/html" },
                },
                "content": {
                    "application/json": { "example": { "name": "Rex" } },
                    "text/plain": { "example": "Rex" },
                },
            },
            "201": { "$ref": "#/components/responses/Made" },
            "204": { "content": { "application/json": { "example": 1 } } },
        },
        "components": {
            "examples": { "gone": { "value": { "code": "gone" } } },
            "responses": { "Made": { "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/Pet" } } } } },
            "schemas": { "Pet": { "type": "object", "properties": { "id": { "type": "integer" } } } },
        },
    });
    let examples = examples(&operation).unwrap();
    let told: Vec<_> = examples
        .iter()
        .map(|it| (it.status, it.name.as_str(), it.media_type.as_str(), it.body.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (200, "default", "application/json", r#"{"name":"Rex"}"#),
            (200, "default", "text/plain", "Rex"),
            (201, "default", "application/json", r#"{"id":0}"#),
            (204, "default", "", ""),
            (404, "unknown", "application/problem+json", r#"{"code":"unknown"}"#),
            (404, "gone", "application/problem+json", r#"{"code":"gone"}"#),
            (500, "default", "", ""),
        ]
    );
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    assert_eq!(examples[0].headers, [header("X-Rate", "5"), header("X-Tag", "a")]);
}

#[test]
fn a_value_is_made_of_a_schema() {
    let pet = json!({
        "type": "object",
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "name": { "type": "string", "minLength": 8 },
            "short": { "type": "string", "maxLength": 3 },
            "age": { "type": "integer", "minimum": 1, "maximum": 30 },
            "weight": { "type": "number", "exclusiveMinimum": 0.5 },
            "kind": { "enum": ["dog", "cat"] },
            "good": { "type": ["null", "boolean"] },
            "tags": { "type": "array", "minItems": 2, "items": { "type": "string", "example": "a" } },
            "owner": { "allOf": [
                { "properties": { "a": { "const": 1 } } },
                { "properties": { "b": { "default": 2 } } },
            ] },
            "either": { "oneOf": [{ "type": "integer" }, { "type": "string" }] },
            "extra": { "additionalProperties": { "type": "integer" } },
            "secret": { "type": "string", "writeOnly": true },
            "any": {},
        },
    });
    assert_eq!(
        made(&pet),
        json!({
            "id": "018f0000-0000-7000-8000-000000000001",
            "name": "stringxx",
            "short": "str",
            "age": 1,
            "weight": 1.5,
            "kind": "dog",
            "good": true,
            "tags": ["a", "a"],
            "owner": { "a": 1, "b": 2 },
            "either": 0,
            "extra": { "property": 0 },
            "any": null,
        })
    );
}

#[test]
fn a_schema_that_holds_itself_or_grows_without_end_has_bounds() {
    let node = json!({
        "responses": { "200": { "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Node" } } } } },
        "components": { "schemas": { "Node": { "properties": { "next": { "$ref": "#/components/schemas/Node" } } } } },
    });
    assert!(examples(&node).unwrap()[0].body.matches("next").count() <= DEPTH_MAX + 1);

    let wide = json!({ "items": { "items": { "items": { "items": { "items": { "type": "integer" },
        "minItems": 10 }, "minItems": 10 }, "minItems": 10 }, "minItems": 10 }, "minItems": 10 });
    let operation = json!({ "responses": { "200": { "schema": wide } } });
    assert!(examples(&operation).unwrap_err().contains("more than 20000 values"));

    let circle = json!({
        "responses": { "200": { "$ref": "#/components/responses/A" } },
        "components": { "responses": { "A": { "$ref": "#/components/responses/A" } } },
    });
    assert!(examples(&circle).unwrap_err().contains("circle"));
}

#[test]
fn what_is_no_operation_is_refused() {
    for (operation, part) in [
        (json!({}), "with responses"),
        (json!([]), "with responses"),
        (json!({ "responses": {} }), "no response"),
        (json!({ "responses": { "100": {} } }), "no response"),
        (json!({ "responses": { "teapot": {} } }), "no status"),
        (json!({ "responses": { "200": { "content": { "": { "example": 1 } } } } }), "media type"),
        (json!({ "responses": { "200": { "examples": { "": 1 } } } }), "media type"),
        (json!({ "responses": { "200": { "$ref": "other.yaml#/x" } } }), "another document"),
        (json!({ "responses": { "200": { "$ref": "#/components/x" } } }), "not there"),
    ] {
        let why = examples(&operation).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
    let many: Map<String, Value> =
        (0..=ANSWERS_MAX).map(|at| (format!("e{at}"), json!({ "value": 1 }))).collect();
    let operation = json!({ "responses": { "200": { "content": { "application/json": { "examples": many } } } } });
    assert!(examples(&operation).unwrap_err().contains("more than 100 examples"));
}
