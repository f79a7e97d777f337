//! AWS's way of a `MOCK`: a request template names a status, and the integration response whose pattern takes that status
//! answers. Templates are constants here; a language for them would give the status, and the body, when a call comes.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// The longest pattern of an integration response, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;
/// What a compiled pattern may hold, in bytes.
const PATTERN_SIZE_MAX: usize = 64 << 10;
/// Of a request that does not say.
const DEFAULT_TYPE: &str = "application/json";

/// Why a mock is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MockError(String);

/// Which response answers a request of a media type.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// The response for each type of body that a request template is for.
    by_type: Vec<(Box<str>, Option<usize>)>,
    /// The response with no pattern.
    default: Option<usize>,
}

impl Choice {
    /// `templates` by media type, and the pattern of each response; an empty one is the default's.
    pub fn new<'a>(
        templates: &BTreeMap<String, String>,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, MockError> {
        let patterns: Vec<_> = patterns.into_iter().collect();
        let default = patterns.iter().position(|pattern| pattern.is_empty());
        let compiled =
            patterns.iter().map(|text| pattern(text)).collect::<Result<Vec<_>, MockError>>()?;
        let mut by_type = Vec::with_capacity(templates.len());
        for (media_type, template) in templates {
            let status = status(template)?.to_string();
            let matches = |pattern: &Option<Regex>| {
                pattern.as_ref().is_some_and(|pattern| pattern.is_match(&status))
            };
            let index = compiled.iter().position(matches).or(default);
            by_type.push((crate::accept::essence(media_type).into(), index));
        }
        Ok(Self { by_type, default })
    }

    /// The position of the response to a request with this `Content-Type`. `None`: there is none for it.
    pub fn response(&self, content_type: Option<&str>) -> Option<usize> {
        let essence = content_type.map_or(DEFAULT_TYPE, crate::accept::essence);
        let known = self.by_type.iter().find(|(known, _)| known.eq_ignore_ascii_case(essence));
        known.map_or(self.default, |(_, index)| *index)
    }
}

/// Which response is for an answer, by its status or by a function's error.
#[derive(Debug, Default)]
pub struct Selection {
    patterns: Vec<Option<Regex>>,
}

impl Selection {
    /// The pattern of each response; an empty one is the default's.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, MockError> {
        let patterns = patterns.into_iter().map(pattern).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// The position of the first whose pattern takes the whole text, else of the default.
    pub fn of(&self, text: &str) -> Option<usize> {
        let takes = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|it| it.is_match(text));
        self.patterns.iter().position(takes).or_else(|| self.default())
    }

    /// The position of the one without a pattern.
    pub fn default(&self) -> Option<usize> {
        self.patterns.iter().position(Option::is_none)
    }
}

/// The status that a request template gives: `{"statusCode": 200}`.
pub fn status(template: &str) -> Result<u16, MockError> {
    if !is_constant(template) {
        return Err(MockError(
            "mapping templates are not served yet: give a constant, such as {\"statusCode\": 200}"
                .to_owned(),
        ));
    }
    let value: Value = serde_json::from_str(template).map_err(|error| {
        MockError(format!("must be JSON such as {{\"statusCode\": 200}}: {error}"))
    })?;
    let status = value.get("statusCode").and_then(Value::as_u64);
    let status = status.and_then(|status| u16::try_from(status).ok());
    status
        .filter(|status| (100..=599).contains(status))
        .ok_or_else(|| MockError("must have a statusCode from 100 to 599".to_owned()))
}

/// Whether a text says the same as a template of AWS's language as it says without.
pub fn is_constant(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.windows(2).any(|pair| match pair[0] {
        b'$' => pair[1].is_ascii_alphabetic() || b"_!{\\".contains(&pair[1]),
        b'#' => pair[1].is_ascii_alphabetic() || b"@#*{[".contains(&pair[1]),
        _ => false,
    })
}

/// A response's pattern, which must match the whole of a status; `None`: the default response has none.
pub fn pattern(text: &str) -> Result<Option<Regex>, MockError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > PATTERN_BYTES_MAX {
        return Err(MockError(format!("must have at most {PATTERN_BYTES_MAX} bytes")));
    }
    let compiled = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(PATTERN_SIZE_MAX).dfa_size_limit(PATTERN_SIZE_MAX).build()
    };
    // By itself first: what closes a group that it did not open would end the one around it.
    let regex = compiled(text).and_then(|_| compiled(&format!("^(?:{text})$")));
    regex
        .map(Some)
        .map_err(|_| MockError("is no regular expression, or too large a one".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_status_of_a_template_chooses_the_response() {
        let given = templates(&[
            ("application/json", r#"{"statusCode": 404}"#),
            ("text/plain; charset=utf-8", r#"{ "statusCode": 503, "other": [1] }"#),
            ("text/csv", r#"{"statusCode":201}"#),
        ]);
        let choice = Choice::new(&given, ["2\\d{2}", "", "4\\d\\d|5", "404"]).unwrap();
        assert_eq!(choice.response(None), Some(2), "the first that matches");
        assert_eq!(choice.response(Some("APPLICATION/JSON;x=1")), Some(2));
        assert_eq!(choice.response(Some("text/plain")), Some(1), "5 is not all of 503");
        assert_eq!(choice.response(Some("text/csv")), Some(0));
        assert_eq!(choice.response(Some("image/png")), Some(1), "no template for it");
        let none = Choice::new(&given, ["200"]).unwrap();
        assert_eq!((none.response(None), none.response(Some("x/y"))), (None, None));
    }

    #[test]
    fn what_is_no_constant_or_no_pattern_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"statusCode": "200"}"#,
            r#"{"statusCode": 99}"#,
            r#"{"statusCode": 600}"#,
            r#"{"statusCode": $input.json('$.x')}"#,
            "#set($x = 1){\"statusCode\": 200}",
            r#"{"statusCode": 200} x"#,
        ] {
            assert!(status(bad).is_err(), "{bad}");
        }
        for constant in ["costs $5, #1, a # b $ c #", "100 %"] {
            assert!(is_constant(constant), "{constant}");
        }
        for template in ["$input", "${a}", "$!x", "## note", "#if(true)", "#{else}", "#[[x]]#"] {
            assert!(!is_constant(template), "{template}");
        }
        for bad in ["(", "a)|(?:b", "a{1000}{1000}", &"x".repeat(257)] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
