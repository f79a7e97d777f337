//! Fields of a PATCH: left out, they stay; null removes.

use serde::{Deserialize, Deserializer};

/// Tells null from absent: `#[serde(default, deserialize_with = "patch::nullable")]` on an
/// `Option<Option<T>>` gives `None` for a field left out and `Some(None)` for null.
#[expect(clippy::option_option, reason = "left out, null and a value are three things")]
pub fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "nullable")]
        quota: Option<Option<u32>>,
    }

    #[test]
    fn null_is_not_absent() {
        let quota = |text| serde_json::from_str::<Body>(text).unwrap().quota;
        assert_eq!(quota("{}"), None);
        assert_eq!(quota(r#"{"quota": null}"#), Some(None));
        assert_eq!(quota(r#"{"quota": 1}"#), Some(Some(1)));
    }
}
