//! What people write: names and descriptions. Checked once, at the door of the domain.

use crate::error::{Error, Result};

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 128;
/// The longest description, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 1024;

/// What is seen as nothing: it joins and parts letters, or orders them, and is no name by itself.
fn unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A name: not blank, at most [`NAME_CHARS_MAX`] characters, without the spaces around it.
pub fn name(param: &str, text: &str) -> Result<String> {
    let name = line(param, text.trim(), NAME_CHARS_MAX)?;
    if name.chars().all(|c| c.is_whitespace() || unseen(c)) {
        Err(Error::bad_request(param, "must not be blank"))
    } else {
        Ok(name)
    }
}

/// A description: at most [`DESCRIPTION_CHARS_MAX`] characters, of which tabs and line ends may be some.
pub fn description(param: &str, text: String) -> Result<String> {
    check(param, &text, DESCRIPTION_CHARS_MAX, |c| matches!(c, '\n' | '\r' | '\t'))?;
    Ok(text)
}

/// One line of at most `chars_max` characters.
pub fn line(param: &str, text: &str, chars_max: usize) -> Result<String> {
    check(param, text, chars_max, |_| false)?;
    Ok(text.to_owned())
}

fn check(param: &str, text: &str, chars_max: usize, allowed: fn(char) -> bool) -> Result<()> {
    if text.chars().count() > chars_max {
        return Err(Error::bad_request(param, format!("must have at most {chars_max} characters")));
    }
    // PostgreSQL cannot hold U+0000, and the others only deceive who reads them.
    if text.chars().any(|c| c.is_control() && !allowed(c)) {
        return Err(Error::bad_request(param, "must not hold control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_and_not_blank() {
        assert_eq!(name("name", "  Gold plan ").unwrap(), "Gold plan");
        assert!(name("name", &"ü".repeat(NAME_CHARS_MAX)).is_ok());
        // What joins letters and pictures is a part of some languages.
        assert!(name("name", "می\u{200c}خواهم 👩\u{200d}💻").is_ok());
        for wrong in
            ["", "  ", "a\0b", "a\nb", &"a".repeat(NAME_CHARS_MAX + 1), "\u{200b}\u{200d} \u{feff}"]
        {
            let error = name("plan.name", wrong).unwrap_err();
            assert_eq!(
                (error.code(), error.param()),
                ("bad_request", Some("plan.name")),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_description_may_have_lines() {
        assert!(description("description", "one\n\ttwo".to_owned()).is_ok());
        assert!(description("description", "\0".to_owned()).is_err());
        assert!(description("description", "x".repeat(DESCRIPTION_CHARS_MAX + 1)).is_err());
    }
}
