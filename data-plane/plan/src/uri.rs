//! Where an integration points: a URI with `{parameter}` and `${stageVariables.name}` in it.

use crate::{RouteKey, route::is_variable_name};

/// A URI as a tenant wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriTemplate {
    parts: Vec<Part>,
}

/// A URI with its stage variables filled in: only the route's parameters are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundUri {
    /// `http://host:port`, still to be checked by the egress guard.
    pub origin: String,
    /// Path and query; starts with a slash.
    parts: Vec<Part>,
    /// Where in `parts` the query begins.
    query_at: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Parameter(Box<str>),
    StageVariable(Box<str>),
}

/// What is wrong with a template, said to the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a brace is not closed, or closed without being opened")]
    Brace,
    #[error("{0:?} is no name of a path parameter")]
    Name(String),
    #[error("${{{0}}} is unknown; only ${{stageVariables.name}} is filled in")]
    Unknown(String),
    #[error("{{{0}}} stands in the host; a caller must not choose the host")]
    ParameterInHost(String),
    #[error("{{{0}}} is no variable of the route {1}")]
    NotInRoute(String, String),
    #[error("the stage variable {0} is not set")]
    NotSet(String),
    #[error("must start with http:// or https://")]
    Scheme,
}

impl UriTemplate {
    pub fn parse(uri: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = uri;
        while let Some(open) = rest.find(['{', '}']) {
            let (text, from) = rest.split_at(open);
            let inner = from.strip_prefix('{').ok_or(TemplateError::Brace)?;
            let (name, after) = inner.split_once('}').ok_or(TemplateError::Brace)?;
            let part = if let Some(text) = text.strip_suffix('$') {
                push_text(&mut parts, text);
                let unknown = || TemplateError::Unknown(name.to_owned());
                let variable = name.strip_prefix("stageVariables.").ok_or_else(unknown)?;
                if !is_variable_name(variable) {
                    return Err(unknown());
                }
                Part::StageVariable(variable.into())
            } else {
                push_text(&mut parts, text);
                if !is_variable_name(name) {
                    return Err(TemplateError::Name(name.to_owned()));
                }
                Part::Parameter(name.into())
            };
            parts.push(part);
            rest = after;
        }
        push_text(&mut parts, rest);
        let template = Self { parts };
        // With every stage variable empty, what is wrong with the form shows already.
        template.bind(|_| Some(String::new()))?;
        Ok(template)
    }

    /// Whether every parameter is a variable of the route.
    pub fn check(&self, route: &RouteKey) -> Result<(), TemplateError> {
        for part in &self.parts {
            if let Part::Parameter(name) = part
                && !route.variables().any(|variable| variable == &**name)
            {
                return Err(TemplateError::NotInRoute(name.to_string(), route.to_string()));
            }
        }
        Ok(())
    }

    /// The names of the stage variables that must be set.
    pub fn stage_variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::StageVariable(name) => Some(&**name),
            _ => None,
        })
    }

    /// Fills in the stage variables.
    pub fn bind(&self, value: impl Fn(&str) -> Option<String>) -> Result<BoundUri, TemplateError> {
        let mut bound: Vec<Part> = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => push_text(&mut bound, text),
                Part::StageVariable(name) => {
                    let value =
                        value(name).ok_or_else(|| TemplateError::NotSet(name.to_string()))?;
                    push_text(&mut bound, &value);
                }
                Part::Parameter(_) => bound.push(part.clone()),
            }
        }
        let Some(Part::Text(first)) = bound.first() else { return Err(TemplateError::Scheme) };
        let scheme = first.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let authority = match scheme.as_deref() {
            Some("http") => "http://".len(),
            Some("https") => "https://".len(),
            _ => return Err(TemplateError::Scheme),
        };
        let end = first[authority..].find(['/', '?']).map(|end| authority + end);
        if let (None, Some(Part::Parameter(name))) = (end, bound.get(1)) {
            return Err(TemplateError::ParameterInHost(name.to_string()));
        }
        let (origin, path) = first.split_at(end.unwrap_or(first.len()));
        let (origin, path) = (origin.to_owned(), format!("/{}", path.trim_start_matches('/')));
        bound[0] = Part::Text(path);
        let query_at =
            bound.iter().position(|part| matches!(part, Part::Text(t) if t.contains('?')));
        Ok(BoundUri { origin, parts: bound, query_at })
    }
}

impl BoundUri {
    /// Whether the caller's path has any place in it.
    pub fn has_parameters(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Parameter(_)))
    }

    /// Path and query for one request. `value` gives a parameter's raw, still encoded text; `path` is put after
    /// the template's own path where given; `query` is the caller's, and follows the template's own.
    pub fn render<'a>(
        &self,
        value: impl Fn(&str) -> Option<&'a str>,
        path: Option<&str>,
        query: Option<&str>,
    ) -> String {
        let mut out = String::with_capacity(64);
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(text) if self.query_at == Some(index) => {
                    let (before, own_query) = text.split_once('?').unwrap_or((text, ""));
                    out.push_str(before);
                    append_path(&mut out, path);
                    out.push('?');
                    out.push_str(own_query);
                }
                Part::Text(text) => out.push_str(text),
                Part::Parameter(name) => {
                    let raw = value(name).unwrap_or_default();
                    if self.query_at.is_some_and(|query| query < index) {
                        push_query_value(&mut out, raw);
                    } else {
                        out.push_str(raw);
                    }
                }
                Part::StageVariable(_) => {} // none is left after `bind`
            }
        }
        if self.query_at.is_none() {
            append_path(&mut out, path);
        }
        if let Some(query) = query {
            let empty = out.ends_with(['?', '&']);
            out.push_str(match (self.query_at, empty) {
                (None, _) => "?",
                (Some(_), true) => "",
                (Some(_), false) => "&",
            });
            out.push_str(query);
        }
        out
    }
}

fn append_path(out: &mut String, path: Option<&str>) {
    if let Some(path) = path {
        if out.ends_with('/') {
            out.pop();
        }
        out.push_str(path);
    }
}

/// What stands for itself in a path but means something in a query is encoded, or a caller could add
/// parameters of their own.
fn push_query_value(out: &mut String, raw: &str) {
    for c in raw.chars() {
        match c {
            '&' => out.push_str("%26"),
            '=' => out.push_str("%3D"),
            '+' => out.push_str("%2B"),
            ';' => out.push_str("%3B"),
            '#' => out.push_str("%23"),
            c => out.push(c),
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(uri: &str, variables: &[(&str, &str)]) -> Result<BoundUri, TemplateError> {
        UriTemplate::parse(uri)?.bind(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn render(uri: &str, parameters: &[(&str, &str)], query: Option<&str>) -> String {
        let value = |name: &str| parameters.iter().find(|(known, _)| *known == name).map(|p| p.1);
        bind(uri, &[]).unwrap().render(value, None, query)
    }

    #[test]
    fn parameters_and_the_callers_query_go_where_the_template_says_byte_for_byte() {
        let parameters = [("id", "a%2Fb"), ("proxy", "x/y%20z/"), ("amp", "1&b=2+3;4")];
        for (uri, query, expected) in [
            ("http://h/users/{id}", None, "/users/a%2Fb"),
            ("http://h/{proxy}", Some("a=%41&a=b"), "/x/y%20z/?a=%41&a=b"),
            ("http://h/v/{proxy}/end", None, "/v/x/y%20z//end"),
            ("http://h", None, "/"),
            ("http://h", Some(""), "/?"),
            ("http://h?x=1", Some("y=2"), "/?x=1&y=2"),
            ("http://h/?", Some("y=2"), "/?y=2"),
            ("http://h/{id}?x={id}", Some("y"), "/a%2Fb?x=a%2Fb&y"),
            ("http://h/a?x={amp}", None, "/a?x=1%26b%3D2%2B3%3B4"),
            ("http://h/{amp}", None, "/1&b=2+3;4"),
        ] {
            assert_eq!(render(uri, &parameters, query), expected, "{uri}");
        }
    }

    #[test]
    fn a_catch_all_can_put_the_whole_path_behind_the_templates_own() {
        for (uri, expected) in [
            ("http://h", "/a/b?q"),
            ("http://h/", "/a/b?q"),
            ("http://h/base", "/base/a/b?q"),
            ("http://h/base/?x=1", "/base/a/b?x=1&q"),
        ] {
            assert_eq!(bind(uri, &[]).unwrap().render(|_| None, Some("/a/b"), Some("q")), expected);
        }
    }

    #[test]
    fn stage_variables_fill_host_path_and_query() {
        let variables =
            [("host", "example.com:81"), ("base", "v1/x"), ("where", "example.org/deep")];
        let bound =
            bind("https://api.${stageVariables.host}/${stageVariables.base}/{id}", &variables);
        let bound = bound.unwrap();
        assert_eq!(bound.origin, "https://api.example.com:81");
        assert_eq!(bound.render(|_| Some("7"), None, None), "/v1/x/7");

        let bound = bind("http://${stageVariables.where}/{id}", &variables).unwrap();
        assert_eq!(bound.origin, "http://example.org");
        assert_eq!(bound.render(|_| Some("7"), None, None), "/deep/7");

        let template =
            UriTemplate::parse("http://${stageVariables.a}/${stageVariables.b}").unwrap();
        assert_eq!(template.stage_variables().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_template_that_cannot_work_is_refused_with_the_reason() {
        use TemplateError as E;
        let text = str::to_owned;
        for (uri, error) in [
            ("ftp://h/", E::Scheme),
            ("{scheme}://h/", E::Scheme),
            ("${stageVariables.url}/x", E::Scheme),
            ("h/x", E::Scheme),
            ("http://{host}/", E::ParameterInHost(text("host"))),
            ("http://a.{host}.b/", E::ParameterInHost(text("host"))),
            ("http://h:{port}/", E::ParameterInHost(text("port"))),
            ("http://h/{id", E::Brace),
            ("http://h/id}", E::Brace),
            ("http://h/{}", E::Name(text(""))),
            ("http://h/{proxy+}", E::Name(text("proxy+"))),
            ("http://h/{a{b}}", E::Name(text("a{b"))),
            ("http://h/${context.path}", E::Unknown(text("context.path"))),
            ("http://h/${stageVariables.}", E::Unknown(text("stageVariables."))),
        ] {
            assert_eq!(UriTemplate::parse(uri), Err(error), "{uri}");
        }
        assert_eq!(bind("http://h/${stageVariables.x}", &[]), Err(E::NotSet(text("x"))));
        let route = RouteKey::parse_key("GET /a/{id}").unwrap();
        let template = UriTemplate::parse("http://h/{id}/{other}").unwrap();
        assert_eq!(template.check(&route), Err(E::NotInRoute(text("other"), text("GET /a/{id}"))));
        assert_eq!(UriTemplate::parse("http://h/{id}").unwrap().check(&route), Ok(()));
    }
}
