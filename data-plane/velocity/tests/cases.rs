//! Templates with what they must render, as data.
//!
//! `tests/cases/` has the project's own, by group. What AWS API Gateway really rendered was recorded by others and is
//! not ours to keep: where `VTL_CASES` names that file, or it lies at `../shared/vtl` beside the checkout, it is run
//! too, and every case must hold.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use velocity::{ErrorKind, Limits, Options, Program, Progress, Render};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What the cases are about.
    group: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    template: String,
    #[serde(default)]
    context: Map<String, Value>,
    /// What Velocity renders.
    velocity: Option<String>,
    /// What AWS renders, where that is something else.
    aws: Option<String>,
    /// What those two end with that render nothing.
    error: Option<Refusal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    kind: String,
    /// A part of the message.
    says: String,
    line: u32,
    column: u32,
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    template: String,
    context: Map<String, Value>,
    expect: String,
    #[serde(default)]
    ignore_whitespaces: bool,
}

fn render(
    template: &str,
    context: &Map<String, Value>,
    options: Options,
    slice: u64,
) -> Result<String, velocity::Error> {
    let program = Program::parse(template, options)?;
    let mut render = Render::new(&program, context, Limits::default());
    let mut out = String::new();
    while render.run(&mut out, slice)? == Progress::Yielded {}
    Ok(out)
}

/// In one go, and stopped at every instruction: the same.
fn both_ways(
    template: &str,
    context: &Map<String, Value>,
    options: Options,
) -> Result<String, velocity::Error> {
    let whole = render(template, context, options, u64::MAX);
    assert_eq!(render(template, context, options, 1), whole, "{template}");
    whole
}

fn files() -> Vec<(PathBuf, File)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let file = serde_json::from_str(&std::fs::read_to_string(&path).unwrap());
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, file)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_case_of_ours_holds() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (path, file) in files() {
        assert!(!file.group.is_empty() && !file.cases.is_empty(), "{}", path.display());
        for case in &file.cases {
            count += 1;
            let name = format!("{}: {}", path.file_stem().unwrap().to_string_lossy(), case.name);
            for (dialect, options, text) in [
                ("velocity", Options::VELOCITY, case.velocity.as_ref()),
                ("aws", Options::AWS, case.aws.as_ref().or(case.velocity.as_ref())),
            ] {
                let got = both_ways(&case.template, &case.context, options);
                let fits = match (&got, text, &case.error) {
                    (Ok(got), Some(text), _) => got == text,
                    (Err(error), None, Some(refusal)) => {
                        format!("{:?}", error.kind) == refusal.kind
                            && error.message.contains(&refusal.says)
                            && (error.line, error.column) == (refusal.line, refusal.column)
                    }
                    _ => false,
                };
                if !fits {
                    wrong.push(format!(
                        "{name} ({dialect})\n  {:?}\n  gives {got:?}",
                        case.template
                    ));
                }
            }
        }
    }
    println!("{count} cases of ours");
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 300, "only {count} cases were found");
}

#[test]
fn every_case_recorded_on_aws_holds() {
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vtl/aws_vtl_cases.json");
    let path = std::env::var_os("VTL_CASES").map_or(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("VTL_CASES").is_none(), "{} cannot be read", path.display());
        println!("no recorded cases are here: VTL_CASES may name them");
        return;
    };
    let cases: Vec<Recorded> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let mut got = both_ways(&case.template, &case.context, Options::AWS);
        if let (Ok(text), true) = (&mut got, case.ignore_whitespaces) {
            *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if got.as_ref() != Ok(&case.expect) {
            wrong.push(format!("{}\n  {:?}\n  gives {got:?}", case.name, case.template));
        }
    }
    println!("{} of {} recorded cases hold", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// For whoever writes cases: what both dialects make of the template in `VTL_TEMPLATE` or of each line of a file.
#[test]
fn a_template_is_shown() {
    let Ok(path) = std::env::var("VTL_LINES") else { return };
    let mut shown = String::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let template = case["template"].as_str().unwrap();
        let context = case["context"].as_object().cloned().unwrap_or_default();
        let options = if case["dialect"] == "aws" { Options::AWS } else { Options::VELOCITY };
        let answer = match both_ways(template, &context, options) {
            Ok(out) => serde_json::json!({"out": out}),
            Err(error) => serde_json::json!({
                "kind": format!("{:?}", error.kind), "says": error.message,
                "line": error.line, "column": error.column,
            }),
        };
        shown.push_str(&answer.to_string());
        shown.push('\n');
    }
    std::fs::write(std::env::var("VTL_SHOWN").unwrap(), shown).unwrap();
}

#[test]
fn kinds_of_errors_are_told_apart() {
    let context = Map::new();
    let kind = |template: &str| render(template, &context, Options::VELOCITY, 10).unwrap_err().kind;
    assert_eq!(kind("#parse('x')"), ErrorKind::Refused);
    assert_eq!(kind("#if("), ErrorKind::Syntax);
    assert_eq!(kind("#macro(m)#m()#end#m()"), ErrorKind::Depth);
}
