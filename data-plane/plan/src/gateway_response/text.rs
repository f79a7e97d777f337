//! A template in which variables stand.

use std::borrow::Cow;

use super::variable::{Context, Variable};

/// A template has at most so many variables.
const VARIABLES_MAX: usize = 200;
/// Of one value so many bytes are told.
const VALUE_BYTES_MAX: usize = 2048;
/// What values make of a template, at most: those that come later are empty.
const VALUES_BYTES_MAX: usize = 64 * 1024;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Constants, each with the variable behind it.
    pieces: Vec<(Box<str>, Variable)>,
    rest: Box<str>,
    escape: Escape,
}

/// How a value is written so that it is nothing else than a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As in a string of JSON, without its quotes.
    Json,
    /// As in text and attributes of XML and HTML.
    Markup,
    /// As it is.
    None,
}

impl Escape {
    /// By `type/subtype`.
    pub fn of(essence: &str) -> Self {
        let essence = essence.to_ascii_lowercase();
        let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
        if ["html", "xml"].contains(&subtype) || subtype.ends_with("+xml") {
            return Self::Markup;
        }
        if essence == "text/plain" { Self::None } else { Self::Json }
    }

    fn push(self, text: &str, out: &mut String) {
        match self {
            Self::None => out.push_str(text),
            Self::Json => {
                let quoted = quoted(text);
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Self::Markup => {
                for char in text.chars() {
                    match char {
                        '&' => out.push_str("&amp;"),
                        '<' => out.push_str("&lt;"),
                        '>' => out.push_str("&gt;"),
                        '"' => out.push_str("&quot;"),
                        '\'' => out.push_str("&#39;"),
                        other => out.push(other),
                    }
                }
            }
        }
    }
}

/// A string of JSON, with its quotes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Text {
    /// `$` before a variable puts its value in; any other `$` is one.
    pub fn parse(template: &str, escape: Escape) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut constant = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            constant.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            match Variable::at(rest)? {
                None => constant.push('$'),
                Some((variable, behind)) => {
                    if pieces.len() == VARIABLES_MAX {
                        return Err(format!("has more than {VARIABLES_MAX} variables"));
                    }
                    pieces.push((std::mem::take(&mut constant).into(), variable));
                    rest = behind;
                }
            }
        }
        constant.push_str(rest);
        Ok(Self { pieces, rest: constant.into(), escape })
    }

    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.pieces.iter().map(|(_, variable)| variable)
    }

    /// With values in the places of variables; one that is `None` is empty, or `null` where it is JSON.
    pub fn fill<'v>(&self, mut value: impl FnMut(&Variable) -> Option<Cow<'v, str>>) -> String {
        let constants: usize = self.pieces.iter().map(|(constant, _)| constant.len()).sum();
        let mut out = String::with_capacity(constants + self.rest.len() + 256);
        let mut values = 0;
        for (constant, variable) in &self.pieces {
            out.push_str(constant);
            let before = out.len();
            let told = value(variable).filter(|_| values < VALUES_BYTES_MAX);
            let told =
                told.as_deref().map(|text| &text[..text.floor_char_boundary(VALUE_BYTES_MAX)]);
            match (variable, told) {
                (Variable::Context(Context::ErrorMessageString), told) => {
                    let text = told.map_or_else(|| "null".to_owned(), quoted);
                    // In JSON it is a value of its own; elsewhere its quotes are text.
                    match self.escape {
                        Escape::Markup => Escape::Markup.push(&text, &mut out),
                        Escape::Json | Escape::None => out.push_str(&text),
                    }
                }
                (_, Some(text)) => self.escape.push(text, &mut out),
                (_, None) => {}
            }
            values += out.len() - before;
        }
        out.push_str(&self.rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, escape: Escape, value: Option<&'static str>) -> String {
        Text::parse(template, escape).unwrap().fill(|_| value.map(Cow::Borrowed))
    }

    #[test]
    fn variables_are_put_in_and_nothing_else_happens() {
        for (template, expected) in [
            ("", ""),
            ("costs $5, #set($x = 1) $", "costs $5, #set($x = 1) $"),
            ("$context", "$context"),
            ("a $context.stage. b", "a V. b"),
            ("$context.stage$context.stage", "VV"),
            ("$$context.stage", "$V"),
            ("{\"m\":$context.error.messageString}", "{\"m\":\"V\"}"),
            ("$method.request.header.x-a/$stageVariables.a.b", "V/V.b"),
            ("$method.request.querystring.q/$method.request.path.p", "V/V"),
        ] {
            assert_eq!(filled(template, Escape::Json, Some("V")), expected, "{template}");
        }
        assert_eq!(filled("$context.error.messageString", Escape::Json, None), "null");
        assert_eq!(filled("[$context.stage]", Escape::Json, None), "[]");
        assert!(Text::parse("$context.unheard", Escape::Json).is_err());
        assert!(Text::parse("$context.", Escape::Json).is_err());
        let many = "$context.stage".repeat(VARIABLES_MAX + 1);
        assert!(Text::parse(&many, Escape::Json).is_err());
    }

    #[test]
    fn a_value_cannot_end_what_it_stands_in() {
        let bad = "\"},<script>'\\\n\u{1}&";
        let json = filled(
            r#"{"a":"$context.path","b":$context.error.messageString}"#,
            Escape::Json,
            Some(bad),
        );
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((value["a"].as_str(), value["b"].as_str()), (Some(bad), Some(bad)));
        let html = filled(
            "<p title='$context.path'>$context.error.messageString</p>",
            Escape::Markup,
            Some(bad),
        );
        assert_eq!(html.matches(['<', '>', '"', '\'']).count(), 6, "{html}");
        assert_eq!(filled("$context.path", Escape::None, Some(bad)), bad);
        for (essence, escape) in [
            ("application/json", Escape::Json),
            ("application/problem+json", Escape::Json),
            ("TEXT/HTML", Escape::Markup),
            ("image/svg+xml", Escape::Markup),
            ("application/xml", Escape::Markup),
            ("text/plain", Escape::None),
            ("application/javascript", Escape::Json),
        ] {
            assert_eq!(Escape::of(essence), escape, "{essence}");
        }
    }

    #[test]
    fn values_do_not_make_a_template_long() {
        let long: &'static str = "é".repeat(100_000).leak();
        let template = "$context.path,".repeat(VARIABLES_MAX);
        let text = filled(&template, Escape::None, Some(long));
        assert!(text.len() <= VALUES_BYTES_MAX + VALUE_BYTES_MAX + VARIABLES_MAX, "{}", text.len());
        assert!(text.starts_with(&"é".repeat(VALUE_BYTES_MAX / 2)));
    }
}
