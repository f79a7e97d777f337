//! What tenants write to take something out of a call, and what callers send to it.

use std::borrow::Cow;

use plan::gateway_response::Variable;
use plan::json_path::Found;
use plan::request_parameter::{Call, ParameterValue};
use plan::{JsonPath, Subtype};
use serde_json::{Value, json};

/// A path is refused at a place that it has, or it looks at no more of a document than it may; a definite one finds one
/// value at most, and the same where its root is not written.
pub(crate) fn json_path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let document = json!({
        "a": {"b": [1, 2.5, {"c": "text", "d": null}], "b c": true}, "n": 7, "s": "7", "e": [], "o": {},
        "l": [{"p": 1, "t": ["x", "y"]}, {"p": 9, "t": []}, {"q": "z"}],
    });
    let path = match JsonPath::parse(&text) {
        Ok(path) => path,
        Err(error) => {
            // A root may have been written before it.
            assert!(error.at <= text.len() + 2 && !error.message.is_empty(), "{error}");
            return;
        }
    };
    let Ok(found) = path.find(&document, 5_000) else { return };
    assert_eq!(matches!(found, Found::Many(_)), !path.is_definite());
    if let Some(below) = text.strip_prefix("$.").filter(|below| !below.starts_with(['.', '$', '@']))
    {
        let again = JsonPath::parse(below).map(|path| path.find(&document, 5_000) == Ok(found));
        assert!(below.trim() != below || again == Ok(true), "{text:?}");
    }
}

/// A call whose every part is this text.
struct Same<'a>(&'a str);

impl Call for Same<'_> {
    fn variable(&self, _: &Variable) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self.0))
    }

    fn body(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self.0))
    }

    fn body_path(&self, path: &JsonPath) -> Option<Value> {
        let json = serde_json::from_str(self.0).ok()?;
        match path.find(&json, 1_000) {
            Ok(Found::One(value)) => Some(value.into_owned()),
            _ => None,
        }
    }
}

/// A value on the first line, a call on the rest: whatever they are, a request of each subtype is JSON with the members that the
/// subtype has, or a path of as many segments.
pub(crate) fn request_parameter(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (value, call) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(value) = ParameterValue::parse(value) else { return };
    let call = Same(call);
    let Some(value) = value.of(&call) else { return };
    for subtype in Subtype::names().filter_map(Subtype::of) {
        let Ok(request) = subtype.request(|_| Some(value.clone().into_owned())) else { continue };
        if request.target.is_none() {
            let (path, query) = request.path_and_query.split_once('?').unwrap();
            assert_eq!((path.split('/').count(), path.contains("/../")), (7, false), "{path}");
            assert_eq!(query.matches('&').count(), 1, "{query}");
            continue;
        }
        let sent: Value = serde_json::from_slice(&request.body).unwrap();
        let members = sent.get("Entries").map_or(&sent, |entries| &entries[0]).as_object().unwrap();
        assert_eq!(members.len(), subtype.parameters.len() - 1, "{sent}"); // but Region
    }
}
