//! Tags: names and values that a tenant puts on what it has, as AWS's are.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

pub type Tags = BTreeMap<String, String>;

/// How many a noun has at most, and how long the key and the value of one are, in characters.
pub const TAGS_MAX: usize = 50;
pub const TAG_KEY_CHARS_MAX: usize = 128;
pub const TAG_VALUE_CHARS_MAX: usize = 256;

/// An error names the field `tags`.
pub fn checked(tags: Tags) -> Result<Tags> {
    let wrong = |rule: String| Err(Error::bad_request("tags", rule));
    if tags.len() > TAGS_MAX {
        return wrong(format!("may be {TAGS_MAX} at most"));
    }
    let good =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b" +-=._:/@".contains(&b));
    for (key, value) in &tags {
        let shown: String = key.chars().take(TAG_KEY_CHARS_MAX).collect();
        if !(1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count()) || !good(key) {
            return wrong(format!(
                "{shown:?} is no key: 1 to {TAG_KEY_CHARS_MAX} letters, digits, spaces and +-=._:/@"
            ));
        }
        if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return wrong(format!("{shown:?} begins with aws:, which is AWS's own"));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX || !good(value) {
            return wrong(format!(
                "{shown:?} must have a value of {TAG_VALUE_CHARS_MAX} letters, digits, spaces and +-=._:/@ at most"
            ));
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_short_and_plain_and_not_awss_own() {
        let one = |key: &str, value: &str| Tags::from([(key.to_owned(), value.to_owned())]);
        for right in [
            Tags::new(),
            one("team", ""),
            one("cost centre", "a+b-c=d._:/@1"),
            one(&"k".repeat(128), &"v".repeat(256)),
            (0..50).map(|n| (n.to_string(), String::new())).collect(),
        ] {
            assert!(checked(right.clone()).is_ok(), "{right:?}");
        }
        for wrong in [
            one("", "v"),
            one("aws:k", "v"),
            one("AWS:k", "v"),
            one("k\n", "v"),
            one("ключ", "v"),
            one("k", "v\0"),
            one(&"k".repeat(129), "v"),
            one("k", &"v".repeat(257)),
            (0..51).map(|n| (n.to_string(), String::new())).collect(),
        ] {
            assert_eq!(checked(wrong.clone()).unwrap_err().param(), Some("tags"), "{wrong:?}");
        }
    }
}
