//! `JSONPath` as AWS answers it, which is Jayway's: a definite path gives the value itself, any other a list of what it
//! finds; filters, unions, slices, recursive descent, and functions at the end.
//!
//! A path is parsed and bounded when it is written; what it may look at in a document is bounded when it is asked.

mod filter;
mod function;
mod parse;
mod walk;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use filter::Filter;
use function::Function;

/// The longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 2048;
/// Steps of one path, those of its filters not counted.
const STEPS_MAX: usize = 64;
/// Filters within filters, brackets within brackets.
const NESTING_MAX: u32 = 8;

/// A parsed path.
#[derive(Clone, Debug)]
pub struct JsonPath {
    steps: Vec<Step>,
    function: Option<Function>,
}

#[derive(Clone, Debug)]
enum Step {
    /// `.name`, `['name']`
    Name(String),
    /// `['a','b']`
    Names(Vec<String>),
    /// `[0]`, `[-1]`
    Index(i64),
    /// `[0,2]`
    Indices(Vec<i64>),
    /// `[from:to]`
    Slice(Option<i64>, Option<i64>),
    /// `*`, `[*]`
    Any,
    /// `[?(…)]`
    Filter(Box<Filter>),
    /// `..`: what follows is looked for at every depth.
    Descend,
}

/// Why a path is not taken, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    pub at: usize,
    pub message: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JSONPath: {} (at byte {})", self.message, self.at)
    }
}

impl std::error::Error for PathError {}

/// The path would have looked at more values than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the JSONPath looks at too many values of this document")
    }
}

impl std::error::Error for TooMuch {}

/// What a path found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<'v> {
    /// A definite path leads nowhere.
    Nothing,
    One(Cow<'v, Value>),
    /// Of a path that is not definite, in the document's order: none at all, too.
    Many(Vec<Cow<'v, Value>>),
}

impl JsonPath {
    /// Parses a path. One that begins neither with `$` nor with `@` is below the root.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        parse::path(text)
    }

    /// Whether it can lead to one place only.
    pub fn is_definite(&self) -> bool {
        self.function.is_some() || definite(&self.steps)
    }

    /// What it finds in a document, looking at so many values at most; each value passed on a way counts.
    pub fn find<'v>(&self, root: &'v Value, looks_max: usize) -> Result<Found<'v>, TooMuch> {
        let mut looks = walk::Looks { root, left: looks_max };
        let found = walk::find(&self.steps, root, &mut looks)?;
        match &self.function {
            None => Ok(found),
            Some(function) => function.of(found, &mut looks),
        }
    }
}

fn definite(steps: &[Step]) -> bool {
    steps.iter().enumerate().all(|(at, step)| match step {
        Step::Name(_) | Step::Index(_) => true,
        // At the end it makes an object of them.
        Step::Names(_) => at + 1 == steps.len(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Table {
        document: Value,
        cases: Vec<Case>,
    }

    /// A path with what it finds, nothing, or why it is refused.
    #[derive(Deserialize)]
    struct Case {
        path: String,
        #[serde(default)]
        definite: bool,
        #[serde(default, deserialize_with = "present")]
        found: Option<Value>,
        refused: Option<String>,
    }

    /// Null is a value that may be found.
    fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
        Value::deserialize(from).map(Some)
    }

    #[test]
    fn every_path_of_the_table_finds_what_it_should() {
        let table: Table = serde_json::from_str(include_str!("json_path/cases.json")).unwrap();
        assert!(table.cases.len() >= 100);
        for case in &table.cases {
            let path = match JsonPath::parse(&case.path) {
                Ok(path) => path,
                Err(error) => {
                    let refused =
                        case.refused.as_deref().unwrap_or_else(|| panic!("{}: {error}", case.path));
                    assert!(error.message.contains(refused), "{}: {error}", case.path);
                    continue;
                }
            };
            assert_eq!(case.refused, None, "{} is taken", case.path);
            let found = match path.find(&table.document, 10_000).unwrap() {
                Found::Nothing => None,
                Found::One(value) => Some(value.into_owned()),
                Found::Many(values) => Some(values.into_iter().map(Cow::into_owned).collect()),
            };
            assert_eq!(found, case.found, "{}", case.path);
            assert_eq!(path.is_definite(), case.definite, "{}", case.path);
        }
    }

    #[test]
    fn a_path_looks_at_no_more_values_than_it_may() {
        let list: Value = (0..1000).collect();
        let paths = [
            "$..*",
            "$[?(@ in [1, 2])]",
            "$[?($..[?(@ > 3)])]",
            "$[?(@ =~ /a*/)]",
            "$[*].length()",
        ];
        for path in paths {
            let path = JsonPath::parse(path).unwrap();
            assert_eq!(path.find(&list, 500), Err(TooMuch));
        }
        let path = JsonPath::parse("$[999]").unwrap();
        assert!(matches!(path.find(&list, 5), Ok(Found::One(_))));
    }

    #[test]
    fn paths_that_are_too_long_or_too_deep_are_refused() {
        for path in [
            "$.".to_owned() + &"a".repeat(PATH_BYTES_MAX),
            ".a".repeat(STEPS_MAX + 2),
            "[?(@".repeat(NESTING_MAX as usize + 2),
            format!("$[?({}@)]", "(".repeat(100)),
            format!("$[?({}@)]", "!".repeat(100)),
            format!("$[?(@ == {})]", "[".repeat(100)),
            "$.a.b(".repeat(50),
        ] {
            assert!(JsonPath::parse(&path).is_err(), "{path}");
        }
    }
}
