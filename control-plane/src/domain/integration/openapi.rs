//! Examples of a mock from an operation of an OpenAPI description (3.0, 3.1, and 2.0 where it is alike): what is written there
//! as `example` or `examples`, else one made of the schema.

use serde_json::{Map, Number, Value, json};

use super::mock::{ANSWERS_MAX, Header, MOCK_BODY_BYTES_MAX, MockExample};

/// How deep a schema is followed; deeper values are null.
const DEPTH_MAX: usize = 16;
/// How many values are made for one operation.
const VALUES_MAX: usize = 20_000;
/// How many items an array is given that asks for more.
const ITEMS_MAX: u64 = 10;
/// How long a text is made that asks for more characters.
const CHARS_MAX: u64 = 256;

type Made<T> = std::result::Result<T, String>;

/// The answers of an operation, those of success first. `components` may stand beside its `responses`, for what `$ref` names.
pub fn examples(operation: &Value) -> Made<Vec<MockExample>> {
    let responses = operation.get("responses").and_then(Value::as_object);
    let responses = responses.ok_or("must be an OpenAPI operation, with responses")?;
    let mut maker = Maker { root: operation, values: 0 };
    let mut found = Vec::new();
    for (code, response) in responses {
        let Some(status) = status(code)? else { continue };
        let response = maker.resolved(response)?;
        maker.response(status, response, &mut found)?;
        if found.len() > ANSWERS_MAX {
            return Err(format!("gives more than {ANSWERS_MAX} examples"));
        }
    }
    if found.is_empty() {
        return Err("has no response with a status from 200 to 599".to_owned());
    }
    let bytes: usize = found.iter().map(|example| example.body.len()).sum();
    if bytes > MOCK_BODY_BYTES_MAX {
        return Err(format!("gives more than {MOCK_BODY_BYTES_MAX} bytes of bodies"));
    }
    found.sort_by_key(|example| (!(200..300).contains(&example.status), example.status));
    Ok(found)
}

/// `200`, `4XX` as 400, `default` as 500; none for statuses that are no answer's end.
fn status(code: &str) -> Made<Option<u16>> {
    let number = match code {
        "default" => Some(500),
        _ if code.starts_with("x-") => return Ok(None),
        _ => match code.as_bytes() {
            [class @ b'1'..=b'5', b'X' | b'x', b'X' | b'x'] => Some(u16::from(class - b'0') * 100),
            _ => code.parse().ok().filter(|status| (100..=599).contains(status)),
        },
    };
    let number = number.ok_or_else(|| format!("responses has {code:?}, which is no status"))?;
    Ok(Some(number).filter(|status| *status >= 200))
}

struct Maker<'a> {
    root: &'a Value,
    values: usize,
}

impl<'a> Maker<'a> {
    /// What a `$ref` names, or the value itself.
    fn resolved(&self, value: &'a Value) -> Made<&'a Value> {
        let mut value = value;
        for _ in 0..DEPTH_MAX {
            let Some(name) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
            let pointer = name.strip_prefix('#').ok_or_else(|| {
                format!("refers to {name:?}, which is another document: give components beside responses")
            })?;
            value = self.root.pointer(pointer).ok_or_else(|| {
                format!("refers to {name:?}, which is not there: give components beside responses")
            })?;
        }
        Err("has a $ref that leads in a circle".to_owned())
    }

    fn response(
        &mut self,
        status: u16,
        response: &'a Value,
        found: &mut Vec<MockExample>,
    ) -> Made<()> {
        let headers = self.headers(response)?;
        let has_none = matches!(status, 204 | 205 | 304);
        let content = response.get("content").and_then(Value::as_object);
        let example = |name: &str, media_type: &str, body: String| MockExample {
            name: name.to_owned(),
            status,
            headers: headers.clone(),
            media_type: media_type.to_owned(),
            body,
        };
        let Some(content) = content.filter(|content| !content.is_empty() && !has_none) else {
            // OpenAPI 2.0 has them here.
            let by_type = response.get("examples").and_then(Value::as_object).filter(|_| !has_none);
            for (media_type, value) in by_type.into_iter().flatten() {
                check_media_type(media_type)?;
                found.push(example("default", media_type, text(media_type, value)));
            }
            if by_type.is_none_or(Map::is_empty) {
                match response.get("schema").filter(|_| !has_none) {
                    Some(schema) => {
                        let value = self.value(schema, 0)?;
                        found.push(example(
                            "default",
                            "application/json",
                            text("application/json", &value),
                        ));
                    }
                    None => found.push(example("default", "", String::new())),
                }
            }
            return Ok(());
        };
        for (media_type, described) in content {
            check_media_type(media_type)?;
            let named = described.get("examples").and_then(Value::as_object);
            if let Some(named) = named.filter(|named| !named.is_empty()) {
                for (name, value) in named {
                    let value = self.resolved(value)?;
                    let Some(value) = value.get("value") else { continue };
                    found.push(example(name, media_type, text(media_type, value)));
                }
                continue;
            }
            let value = match (described.get("example"), described.get("schema")) {
                (Some(value), _) => value.clone(),
                (None, Some(schema)) => self.value(schema, 0)?,
                (None, None) => continue,
            };
            found.push(example("default", media_type, text(media_type, &value)));
        }
        Ok(())
    }

    /// Those that are described with a value, or a schema of one.
    fn headers(&mut self, response: &'a Value) -> Made<Vec<Header>> {
        let mut headers = Vec::new();
        for (name, described) in
            response.get("headers").and_then(Value::as_object).into_iter().flatten()
        {
            if name.eq_ignore_ascii_case("content-type") {
                continue; // the media type says it
            }
            let described = self.resolved(described)?;
            let value = match (described.get("example"), described.get("schema")) {
                (Some(value), _) => value.clone(),
                (None, Some(schema)) => self.value(schema, 0)?,
                (None, None) => continue,
            };
            let value = match value {
                Value::String(text) => text,
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
                other => other.to_string(),
            };
            headers.push(Header { name: name.clone(), value });
        }
        Ok(headers)
    }

    /// A value that a schema takes.
    fn value(&mut self, schema: &'a Value, depth: usize) -> Made<Value> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(format!("has schemas of more than {VALUES_MAX} values"));
        }
        if depth > DEPTH_MAX {
            return Ok(Value::Null);
        }
        let schema = self.resolved(schema)?;
        for given in ["example", "const", "default"] {
            if let Some(value) = schema.get(given) {
                return Ok(value.clone());
            }
        }
        let first =
            |name: &str| schema.get(name).and_then(Value::as_array).and_then(|all| all.first());
        if let Some(value) = first("examples").or(first("enum")) {
            return Ok(value.clone());
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.all_of(schema, parts, depth);
        }
        if let Some(one) = first("oneOf").or(first("anyOf")) {
            return self.value(one, depth + 1);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => Ok(string(schema).into()),
            "integer" => Ok(number(schema, true)),
            "number" => Ok(number(schema, false)),
            "boolean" => Ok(true.into()),
            _ => Ok(Value::Null),
        }
    }

    fn all_of(&mut self, schema: &'a Value, parts: &'a [Value], depth: usize) -> Made<Value> {
        let mut all = Map::new();
        let mut other = Value::Null;
        for part in parts {
            match self.value(part, depth + 1)? {
                Value::Object(fields) => all.extend(fields),
                value => other = value,
            }
        }
        if schema.get("properties").is_some()
            && let Value::Object(fields) = self.object(schema, depth)?
        {
            all.extend(fields);
        }
        Ok(if all.is_empty() { other } else { Value::Object(all) })
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Made<Value> {
        let mut fields = Map::new();
        for (name, property) in
            schema.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            let described = self.resolved(property)?;
            if described.get("writeOnly") == Some(&Value::Bool(true)) {
                continue; // never in an answer
            }
            fields.insert(name.clone(), self.value(property, depth + 1)?);
        }
        if fields.is_empty()
            && let Some(others @ Value::Object(_)) = schema.get("additionalProperties")
        {
            fields.insert("property".to_owned(), self.value(others, depth + 1)?);
        }
        Ok(Value::Object(fields))
    }

    fn array(&mut self, schema: &'a Value, depth: usize) -> Made<Value> {
        let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, ITEMS_MAX);
        let Some(item) = schema.get("items") else { return Ok(json!([])) };
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.value(item, depth + 1)?);
        }
        Ok(Value::Array(items))
    }
}

/// That there is one; whoever takes the examples judges it.
fn check_media_type(media_type: &str) -> Made<()> {
    if media_type.is_empty() {
        return Err("has content without a media type".to_owned());
    }
    Ok(())
}

/// The type that a schema says, or that its other words say.
fn kind(schema: &Value) -> &str {
    let named = match schema.get("type") {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null")
        }
        _ => None,
    };
    let implied = || {
        let has = |name: &str| schema.get(name).is_some();
        match () {
            () if has("properties") || has("additionalProperties") => "object",
            () if has("items") => "array",
            () if has("format") || has("pattern") || has("minLength") => "string",
            () if has("minimum") || has("maximum") => "number",
            () => "null",
        }
    };
    named.unwrap_or_else(implied)
}

fn string(schema: &Value) -> String {
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    let text = match format {
        "date-time" => "2026-01-01T00:00:00Z",
        "date" => "2026-01-01",
        "time" => "00:00:00Z",
        "duration" => "PT1H",
        "email" => "user@example.com",
        "hostname" => "example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "uri" | "url" => "https://example.com/",
        "uuid" => "018f0000-0000-7000-8000-000000000001",
        "byte" => "aGVsbG8=",
        _ => "string",
    };
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    let least = bound("minLength").unwrap_or(0).min(CHARS_MAX);
    let most = bound("maxLength").unwrap_or(CHARS_MAX).min(CHARS_MAX);
    let mut text = text.to_owned();
    while (text.len() as u64) < least {
        text.push('x');
    }
    text.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    text
}

fn number(schema: &Value, integer: bool) -> Value {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let above = bound("exclusiveMinimum").map(|least| least + 1.0);
    let below = bound("exclusiveMaximum").map(|most| most - 1.0);
    let least = bound("minimum").or(above);
    let most = bound("maximum").or(below);
    let zero = 0.0_f64;
    let value = zero.max(least.unwrap_or(zero)).min(most.unwrap_or(f64::INFINITY));
    if integer || value.fract() == 0.0 {
        let whole = format!("{value:.0}");
        return whole.parse::<i64>().map_or(Value::from(0), Value::from);
    }
    Number::from_f64(value).map_or(Value::from(0), Value::Number)
}

/// As a body of this type has it: a text by itself where it is no JSON.
fn text(media_type: &str, value: &Value) -> String {
    let essence = plan::accept::essence(media_type);
    let is_json = essence.ends_with("/json") || essence.ends_with("+json") || essence == "*/*";
    match value {
        Value::String(text) if !is_json => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
