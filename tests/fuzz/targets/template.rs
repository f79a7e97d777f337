//! Templates of strangers.

use serde_json::{Map, Value, json};
use velocity::{Error, Excess, Limits, Options, Program, Progress, Render};

const LIMITS: Limits = Limits {
    steps: 20_000,
    memory_bytes: 256 << 10,
    output_bytes: 64 << 10,
    iterations: 100,
    excess: Excess::End,
};

/// Renders in slices; what it uses stays within its limits at each of them.
fn render(program: &Program, context: &Map<String, Value>, slice: u64) -> Result<String, Error> {
    let mut render = Render::new(program, context, LIMITS);
    let mut out = String::new();
    loop {
        let progress = render.run(&mut out, slice);
        assert!(render.steps() <= LIMITS.steps && out.len() <= LIMITS.output_bytes);
        assert!(render.used_bytes() <= LIMITS.memory_bytes + (64 << 10), "{}", render.used_bytes());
        if progress? == Progress::Done {
            return Ok(out);
        }
    }
}

/// A template is refused at a place that it has, or it renders within its limits, and to the same however often it is
/// stopped on the way.
pub(crate) fn template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').count() + 1;
    let context = json!({
        "s": "a text, with \"quotes\"", "n": 7, "d": 1.5, "b": true, "nothing": null,
        "l": ["a", 1, {"k": [1, 2]}, null], "m": {"a": {"b": "c"}, "size": 3, "k": []},
    });
    let Value::Object(context) = context else { return };
    for options in [Options::VELOCITY, Options::AWS] {
        match Program::parse(&text, options) {
            Ok(program) => {
                let whole = render(&program, &context, u64::MAX);
                assert_eq!(render(&program, &context, 3), whole);
            }
            Err(error) => {
                assert!((1..=lines).contains(&(error.line as usize)), "{error}");
                assert!(error.column >= 1 && !error.message.is_empty(), "{error}");
            }
        }
    }
}
