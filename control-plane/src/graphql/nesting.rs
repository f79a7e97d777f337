//! How deep the brackets of a document are nested, counted before anything reads it by recursion.
//!
//! The parser watches its stack while it matches the grammar, but not while it makes the tree of it, and nor does
//! what drops the tree: a few thousand levels of `[` can end the process.

/// The deepest nesting of `{`, `[` and `(`. A document that no other limit refuses has less than 50.
pub const NESTING_MAX: usize = 64;

/// The deepest nesting, brackets in strings and comments left out (October 2021 specification, §2.1). Of a document
/// that is none, any number at least as large as what the parser would get to see.
pub fn nesting(document: &str) -> usize {
    let mut rest = document.as_bytes();
    let (mut depth, mut deepest) = (0_usize, 0);
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                after
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                after
            }
            b'#' => past_line(after),
            b'"' => match after.strip_prefix(b"\"\"") {
                Some(block) => past_block(block),
                None => past_string(after),
            },
            _ => after,
        };
    }
    deepest
}

fn past_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    &text[end.unwrap_or(text.len())..]
}

/// A string ends with its line, closed or not.
fn past_string(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [b'\\', b'\n' | b'\r', ..] => return &text[1..],
            [b'\\', _, after @ ..] => after,
            [b'"', after @ ..] => return after,
            [] | [b'\n' | b'\r', ..] => return text,
            [_, after @ ..] => after,
        };
    }
}

fn past_block(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [b'\\', b'"', b'"', b'"', after @ ..] => after,
            [b'"', b'"', b'"', after @ ..] => return after,
            [] => return text,
            [_, after @ ..] => after,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_bracket_counts() {
        assert_eq!(nesting(""), 0);
        assert_eq!(nesting("{ a { b } c { d { e } } }"), 3);
        assert_eq!(nesting("query($v: [[ID!]!]) { a(b: { c: [1, [2]] }) { d } }"), 5);
        assert_eq!(nesting(&"[".repeat(3000)), 3000);
        assert_eq!(nesting("}}}}{{"), 2);
    }

    #[test]
    fn text_does_not_count() {
        assert_eq!(nesting("{ a(b: \"[[[ \\\" {{{\") }"), 2);
        assert_eq!(nesting("{ a(b: \"\"\"[[[ \\\"\"\" {{{ \" \"\"\") }"), 2);
        assert_eq!(nesting("{ # {{{ \" {{{\n a # [[[\r b }"), 1);
        assert_eq!(nesting("{ a(b: \"\") { c } }"), 2);
    }

    #[test]
    fn what_does_not_end_hides_nothing_that_the_parser_would_read() {
        assert_eq!(nesting("{ a(b: \"\n[[[[ "), 6);
        assert_eq!(nesting("{ a(b: \"\\\n[[[[ "), 6);
        assert_eq!(nesting("{ a(b: \"\"\" [[[["), 2);
    }
}
