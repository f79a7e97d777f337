//! Cross-origin calls (Fetch, "CORS protocol"): which pages an Api answers, and what their browsers are told.

use std::collections::HashSet;

use crate::OriginPattern;

/// Each list has at most so many entries.
pub const CORS_LIST_MAX: usize = 100;
/// The longest time that a browser keeps what a preflight told it, in seconds, as in AWS.
pub const CORS_MAX_AGE_S: i32 = 86_400;
const FIELD_BYTES_MAX: usize = 128;
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// As a tenant writes it. Without `allow_origins` it is off, which a route may say for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsSettings {
    /// `*`, `https://*`, `http://*`, or as [`OriginPattern`] reads them.
    pub allow_origins: Vec<String>,
    /// Methods or `*`.
    pub allow_methods: Vec<String>,
    /// Names of fields or `*`; so `expose_headers`.
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub allow_credentials: bool,
    /// -1 (browsers keep nothing) to [`CORS_MAX_AGE_S`]; `None`: as browsers do, which is 5 s.
    pub max_age_s: Option<i32>,
}

/// Which field of the settings is wrong, by AWS's name, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct CorsError {
    pub field: &'static str,
    pub rule: String,
}

/// Checked settings, with what is sent written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<Origins>,
    /// With commas between; empty: none was given.
    pub methods: String,
    pub headers: String,
    pub exposed: String,
    pub credentials: bool,
    pub max_age: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origins {
    Any,
    /// Every one with this scheme.
    Scheme(&'static str),
    Like(OriginPattern),
}

/// What a page that may read the answer is told of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// `*`.
    Anybody,
    /// Its own origin.
    Itself,
}

impl CorsSettings {
    /// The settings in their one spelling: origins as browsers send them, names of fields in lower case.
    pub fn checked(mut self) -> Result<Self, CorsError> {
        each("allowOrigins", &mut self.allow_origins, |text| match text {
            "*" | "https://*" | "http://*" => Ok(text.to_owned()),
            _ => OriginPattern::parse(text)
                .map(|origin| origin.to_string())
                .map_err(|e| e.to_string()),
        })?;
        each("allowMethods", &mut self.allow_methods, |text| {
            let upper = text.to_ascii_uppercase();
            let known = upper == "*" || METHODS.contains(&&*upper);
            known
                .then_some(upper)
                .ok_or_else(|| format!("must be * or one of {}", METHODS.join(", ")))
        })?;
        each("allowHeaders", &mut self.allow_headers, field_name)?;
        each("exposeHeaders", &mut self.expose_headers, field_name)?;
        if self.allow_credentials {
            // With credentials browsers read * as a name, or refuse it: it never means what it says (Fetch §3.2.5).
            for (field, list) in [
                ("allowOrigins", &self.allow_origins),
                ("allowMethods", &self.allow_methods),
                ("allowHeaders", &self.allow_headers),
                ("exposeHeaders", &self.expose_headers),
            ] {
                if list.iter().any(|text| text == "*") {
                    let rule =
                        "must not have * beside allowCredentials: browsers refuse it".to_owned();
                    return Err(CorsError { field, rule });
                }
            }
        }
        if let Some(age) = self.max_age_s
            && !(-1..=CORS_MAX_AGE_S).contains(&age)
        {
            let rule = format!("must be from -1 to {CORS_MAX_AGE_S} seconds");
            return Err(CorsError { field: "maxAge", rule });
        }
        Ok(self)
    }
}

/// Checks each entry and brings it into its one spelling.
fn each(
    field: &'static str,
    list: &mut [String],
    check: impl Fn(&str) -> Result<String, String>,
) -> Result<(), CorsError> {
    let wrong = |rule: String| CorsError { field, rule };
    if list.len() > CORS_LIST_MAX {
        return Err(wrong(format!("has at most {CORS_LIST_MAX} entries")));
    }
    let mut seen = HashSet::with_capacity(list.len());
    for text in list {
        *text = check(text).map_err(|rule| wrong(format!("{text:?} {rule}")))?;
        if !seen.insert(text.clone()) {
            return Err(wrong(format!("{text} is there twice")));
        }
    }
    Ok(())
}

fn field_name(text: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > FIELD_BYTES_MAX || !text.bytes().all(token) {
        return Err(format!("must be * or a field's name of at most {FIELD_BYTES_MAX} characters"));
    }
    Ok(text.to_ascii_lowercase())
}

impl Cors {
    pub fn new(settings: CorsSettings) -> Result<Self, CorsError> {
        let settings = settings.checked()?;
        let origins = settings.allow_origins.iter().map(|text| match text.as_str() {
            "*" => Ok(Origins::Any),
            "https://*" => Ok(Origins::Scheme("https://")),
            "http://*" => Ok(Origins::Scheme("http://")),
            text => OriginPattern::parse(text)
                .map(Origins::Like)
                .map_err(|error| CorsError { field: "allowOrigins", rule: error.to_string() }),
        });
        Ok(Self {
            origins: origins.collect::<Result<_, _>>()?,
            methods: settings.allow_methods.join(","),
            headers: settings.allow_headers.join(","),
            exposed: settings.expose_headers.join(","),
            credentials: settings.allow_credentials,
            max_age: settings.max_age_s.map(|age| age.to_string()),
        })
    }

    /// Whether there are none: preflights and the backend's own fields pass.
    pub fn is_off(&self) -> bool {
        self.origins.is_empty()
    }

    /// Whether the answer is another one for another page.
    pub fn varies(&self) -> bool {
        !self.origins.contains(&Origins::Any)
    }

    /// Whether a page of this origin may read answers. `null` may where everybody may.
    pub fn allows(&self, origin: &[u8]) -> Option<Allowed> {
        if !self.varies() {
            return Some(Allowed::Anybody);
        }
        let allowed = self.origins.iter().any(|origins| match origins {
            Origins::Any => true,
            Origins::Scheme(scheme) => {
                origin.split_at_checked(scheme.len()).is_some_and(|(start, rest)| {
                    start.eq_ignore_ascii_case(scheme.as_bytes()) && !rest.is_empty()
                })
            }
            Origins::Like(pattern) => pattern.matches(origin),
        });
        allowed.then_some(Allowed::Itself)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn origins(texts: &[&str]) -> CorsSettings {
        CorsSettings { allow_origins: list(texts), ..CorsSettings::default() }
    }

    #[test]
    fn a_page_is_allowed_by_its_exact_origin_its_scheme_or_as_anybody() {
        for (given, origin, allowed) in [
            (&["*"][..], "https://a.example", Some(Allowed::Anybody)),
            (&["*"], "null", Some(Allowed::Anybody)),
            (&["https://*"], "https://a.example:8443", Some(Allowed::Itself)),
            (&["https://*"], "http://a.example", None),
            (&["https://*"], "https://", None),
            (&["http://*"], "http://localhost:3000", Some(Allowed::Itself)),
            (&["https://A.example"], "https://a.example", Some(Allowed::Itself)),
            (&["https://a.example"], "https://a.example.evil", None),
            (&["https://a.example"], "https://evil-a.example", None),
            (&["https://a.example"], "http://a.example", None),
            (&["https://a.example"], "https://a.example:444", None),
            (&["https://a.example"], "null", None),
            (
                &["https://b.example", "https://*.a.example"],
                "https://x.a.example",
                Some(Allowed::Itself),
            ),
        ] {
            let cors = Cors::new(origins(given)).unwrap();
            assert_eq!(cors.allows(origin.as_bytes()), allowed, "{given:?} {origin}");
            assert_eq!(cors.varies(), !given.contains(&"*"));
        }
        assert!(Cors::new(CorsSettings::default()).unwrap().is_off());
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let all = |change: fn(&mut CorsSettings)| {
            let mut settings = origins(&["https://a.example"]);
            change(&mut settings);
            settings.checked().err().map(|error| error.field)
        };
        assert_eq!(all(|_| {}), None);
        assert_eq!(all(|s| s.allow_origins = list(&["a.example"])), Some("allowOrigins"));
        assert_eq!(all(|s| s.allow_origins = list(&["https://a.example/x"])), Some("allowOrigins"));
        assert_eq!(all(|s| s.allow_origins = list(&["null"])), Some("allowOrigins"));
        let twice = list(&["https://a.example", "https://A.example:443"]);
        assert_eq!(origins(&[]).checked().err(), None);
        assert!(
            CorsSettings { allow_origins: twice, ..CorsSettings::default() }.checked().is_err()
        );
        assert_eq!(all(|s| s.allow_methods = list(&["get", "FETCH"])), Some("allowMethods"));
        assert_eq!(all(|s| s.allow_headers = list(&["x y"])), Some("allowHeaders"));
        assert_eq!(all(|s| s.expose_headers = list(&["x\r\ny"])), Some("exposeHeaders"));
        assert_eq!(all(|s| s.allow_headers = vec!["x".to_owned(); 101]), Some("allowHeaders"));
        for age in [-1, 0, 86_400] {
            assert!(CorsSettings { max_age_s: Some(age), ..origins(&["*"]) }.checked().is_ok());
        }
        assert_eq!(all(|s| s.max_age_s = Some(-2)), Some("maxAge"));
        assert_eq!(all(|s| s.max_age_s = Some(86_401)), Some("maxAge"));
        for (field, change) in [
            ("allowOrigins", (|s| s.allow_origins = list(&["*"])) as fn(&mut CorsSettings)),
            ("allowMethods", |s| s.allow_methods = list(&["*"])),
            ("allowHeaders", |s| s.allow_headers = list(&["*"])),
            ("exposeHeaders", |s| s.expose_headers = list(&["*"])),
        ] {
            let mut settings = origins(&["https://a.example"]);
            change(&mut settings);
            assert!(settings.clone().checked().is_ok(), "{field}");
            settings.allow_credentials = true;
            assert_eq!(settings.checked().err().map(|error| error.field), Some(field));
        }
    }

    #[test]
    fn names_are_kept_in_one_spelling() {
        let settings = CorsSettings {
            allow_methods: list(&["get", "PUT"]),
            allow_headers: list(&["X-Api-Key", "Authorization"]),
            ..origins(&["https://A.example:443"])
        };
        let checked = settings.checked().unwrap();
        assert_eq!(checked.allow_origins, ["https://a.example"]);
        let cors = Cors::new(checked).unwrap();
        assert_eq!((&*cors.methods, &*cors.headers), ("GET,PUT", "x-api-key,authorization"));
    }
}
