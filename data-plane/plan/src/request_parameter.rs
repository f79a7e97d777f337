//! A value of `requestParameters` as AWS's HTTP APIs have it: text, with what it takes of a call in it.
//!
//! `$request.header.name`, `$request.querystring.name`, `$request.path.name`, `$request.body`, `$request.body.a.b`,
//! `$context.name` and `$stageVariables.name` stand alone, or in braces within text: `orders/${request.path.id}`.

use std::borrow::Cow;

use serde_json::Value;

use crate::{JsonPath, RouteKey, gateway_response::Variable};

/// The longest value as it is written, in bytes.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Parts of one value.
const PARTS_MAX: usize = 64;

#[derive(Clone, Debug)]
pub struct ParameterValue {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// All of the request's body.
    Body,
    /// What a definite path finds in it, where it is JSON.
    BodyPath(JsonPath),
    Variable(Variable),
}

/// A call, as far as values take something of it. `None`: it has no such thing.
pub trait Call {
    fn variable(&self, variable: &Variable) -> Option<Cow<'_, str>>;
    fn body(&self) -> Option<Cow<'_, str>>;
    fn body_path(&self, path: &JsonPath) -> Option<Value>;
}

impl ParameterValue {
    /// Refused in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > VALUE_BYTES_MAX {
            return Err(format!("must have at most {VALUE_BYTES_MAX} bytes"));
        }
        if let Some(name) = text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
            return Ok(Self { parts: vec![part(name)?] });
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) =
                after.split_once('}').ok_or("has a ${ that no brace ends".to_owned())?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(part(name)?);
            rest = behind;
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.len() > PARTS_MAX {
            return Err(format!("has more than {PARTS_MAX} parts"));
        }
        Ok(Self { parts })
    }

    /// What it is for every call.
    pub fn constant(&self) -> Option<&str> {
        match &self.parts[..] {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether anything is taken out of the body as JSON.
    pub fn reads_json(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::BodyPath(_)))
    }

    /// Whether every path parameter in it is a variable of the route.
    pub fn check(&self, route: &RouteKey) -> Result<(), String> {
        for part in &self.parts {
            if let Part::Variable(Variable::Path(name)) = part
                && !route.variables().any(|known| known == &**name)
            {
                return Err(format!("takes {name} of the path, which {route} does not have"));
            }
        }
        Ok(())
    }

    /// With a stage's variables in it; those that it does not have stay, and nothing has them.
    #[must_use]
    pub fn bind(&self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let bound = self.parts.iter().map(|part| match part {
            Part::Variable(Variable::StageVariable(name)) => {
                variable(name).map_or_else(|| part.clone(), Part::Text)
            }
            _ => part.clone(),
        });
        Self { parts: bound.collect() }
    }

    /// For a call; `None` where it is one thing that the call does not have. Within text such a thing is empty.
    pub fn of<'a>(&'a self, call: &'a impl Call) -> Option<Cow<'a, str>> {
        let one = |part: &'a Part| match part {
            Part::Text(text) => Some(Cow::Borrowed(&**text)),
            Part::Body => call.body(),
            Part::BodyPath(path) => match call.body_path(path)? {
                Value::Null => None,
                Value::String(text) => Some(text.into()),
                value => Some(value.to_string().into()),
            },
            Part::Variable(variable) => call.variable(variable),
        };
        match &self.parts[..] {
            [part] => one(part),
            parts => Some(parts.iter().filter_map(one).collect::<String>().into()),
        }
    }
}

/// What a name between `${` and `}`, or behind a `$` that begins a value, stands for.
fn part(name: &str) -> Result<Part, String> {
    if name == "request.body" {
        return Ok(Part::Body);
    }
    if let Some(path) = name.strip_prefix("request.body.") {
        let path = JsonPath::parse(&format!("$.{path}")).map_err(|error| error.to_string())?;
        if !path.is_definite() {
            return Err(format!("{name} may find more than one value"));
        }
        return Ok(Part::BodyPath(path));
    }
    // All values of a field or a parameter of the query go, with commas between.
    let known = [
        ("request.header.", "method.request.multivalueheader."),
        ("request.querystring.", "method.request.multivaluequerystring."),
        ("request.path.", "method.request.path."),
        ("context.", "context."),
        ("stageVariables.", "stageVariables."),
    ];
    let variable = known.iter().find_map(|(ours, general)| {
        let name = name.strip_prefix(ours)?;
        Variable::parse(&format!("{general}{name}")).ok()
    });
    variable.map(Part::Variable).ok_or_else(|| {
        format!(
            "${name} is none of $request.header.name, $request.querystring.name, $request.path.name, $request.body, \
             $request.body.path, $context.name and $stageVariables.name"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pets(Value);

    impl Call for Pets {
        fn variable(&self, variable: &Variable) -> Option<Cow<'_, str>> {
            match variable {
                Variable::Path(name) if &**name == "id" => Some("7".into()),
                Variable::MultiValueHeader(name) if &**name == "x-of" => Some("a,b".into()),
                Variable::Context(_) => Some("told".into()),
                _ => None,
            }
        }

        fn body(&self) -> Option<Cow<'_, str>> {
            Some(self.0.to_string().into())
        }

        fn body_path(&self, path: &JsonPath) -> Option<Value> {
            match path.find(&self.0, 100).ok()? {
                crate::json_path::Found::One(value) => Some(value.into_owned()),
                _ => None,
            }
        }
    }

    #[test]
    fn a_value_is_text_with_what_it_takes_of_a_call() {
        let pets = Pets(serde_json::json!({"name": "Tom", "tags": ["a"], "none": null}));
        for (text, expected) in [
            ("", Some("")),
            ("orders", Some("orders")),
            ("5$ and {a}", Some("5$ and {a}")),
            ("$request.path.id", Some("7")),
            ("$request.path.other", None),
            ("orders/${request.path.id}/${request.path.other}.", Some("orders/7/.")),
            ("$request.header.X-Of", Some("a,b")),
            ("$request.querystring.a", None),
            ("$request.body.name", Some("Tom")),
            ("$request.body.tags[0]", Some("a")),
            ("$request.body.tags", Some("[\"a\"]")),
            ("$request.body.none", None),
            ("$request.body.other", None),
            ("$request.body", Some("{\"name\":\"Tom\",\"tags\":[\"a\"],\"none\":null}")),
            ("$context.requestId", Some("told")),
            ("$stageVariables.a", None),
        ] {
            let value = ParameterValue::parse(text).unwrap();
            assert_eq!(value.of(&pets).as_deref(), expected, "{text}");
        }
        let value = ParameterValue::parse("$stageVariables.queue").unwrap();
        let bound = value.bind(|name| (name == "queue").then(|| "jobs".to_owned()));
        assert_eq!((value.constant(), bound.constant()), (None, Some("jobs")));
    }

    #[test]
    fn what_it_cannot_take_is_refused_in_words() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        for (text, why) in [
            ("$request.method", "is none of"),
            ("$5", "is none of"),
            ("$request.body..name", "more than one value"),
            ("$request.body.a[*]", "more than one value"),
            ("$request.body.a[", "JSONPath"),
            ("a ${request.body", "no brace"),
            ("${context.nothing}", "is none of"),
            (&*long, "at most 4096 bytes"),
            (&*"${request.body}".repeat(65), "more than 64 parts"),
        ] {
            let error = ParameterValue::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let route = RouteKey::parse("GET", "/pets/{id}").unwrap();
        let check = |text| ParameterValue::parse(text).unwrap().check(&route);
        assert_eq!(check("$request.path.id"), Ok(()));
        assert!(check("$request.path.name").unwrap_err().contains("takes name of the path"));
    }
}
