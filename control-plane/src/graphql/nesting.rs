//! How deep the brackets of a document are nested, counted before anything reads it by recursion.
//!
//! The parser watches its stack while it matches the grammar, but not while it makes the tree of it, and nor does
//! what drops the tree: a few thousand levels of `[` can end the process.

/// The deepest nesting of `{`, `[` and `(`. A document that no other limit refuses has less than 50.
pub const NESTING_MAX: usize = 64;

/// The deepest nesting, brackets in strings and comments left out (October 2021 specification, §2.1). Of a document
/// that is none, any number at least as large as what the parser would get to see. None where a block string does not
/// end: the parser would take its first two quotes for a string and read on behind them, and look for the end of each
/// anew.
pub fn nesting(document: &str) -> Option<usize> {
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
                Some(block) => past_block(block)?,
                None => past_string(after),
            },
            _ => after,
        };
    }
    Some(deepest)
}

fn past_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    &text[end.unwrap_or(text.len())..]
}

/// A string ends with its line, closed or not.
#[expect(clippy::match_same_arms, reason = "the order of the arms is the rule")]
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

#[expect(clippy::match_same_arms, reason = "the order of the arms is the rule")]
fn past_block(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'\\', b'"', b'"', b'"', after @ ..] => after,
            [b'"', b'"', b'"', after @ ..] => return Some(after),
            [] => return None,
            [_, after @ ..] => after,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_bracket_counts() {
        assert_eq!(nesting(""), Some(0));
        assert_eq!(nesting("{ a { b } c { d { e } } }"), Some(3));
        assert_eq!(nesting("query($v: [[ID!]!]) { a(b: { c: [1, [2]] }) { d } }"), Some(5));
        assert_eq!(nesting(&"[".repeat(3000)), Some(3000));
        assert_eq!(nesting("}}}}{{"), Some(2));
    }

    #[test]
    fn text_does_not_count() {
        assert_eq!(nesting("{ a(b: \"[[[ \\\" {{{\") }"), Some(2));
        assert_eq!(nesting("{ a(b: \"\"\"[[[ \\\"\"\" {{{ \" \"\"\") }"), Some(2));
        assert_eq!(nesting("{ # {{{ \" {{{\n a # [[[\r b }"), Some(1));
        assert_eq!(nesting("{ a(b: \"\") { c } }"), Some(2));
    }

    #[test]
    fn what_does_not_end_hides_nothing_that_the_parser_would_read() {
        assert_eq!(nesting("{ a(b: \"\n[[[[ "), Some(6));
        assert_eq!(nesting("{ a(b: \"\\\n[[[[ "), Some(6));
        assert_eq!(nesting("{ a(b: [\"\"\"x\" [[[[1]]]]]) }"), None);
        assert_eq!(nesting("{ a(b: [\"\"\"\\\"\"\" [[[[1]]]]]) }"), None);
    }
}
