//! `Prefer` (RFC 7240): which example of a mock a caller wants.

/// The preferences that a mock knows; the first of each counts (RFC 7240 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// `code=404`: the answer's status.
    pub code: Option<u16>,
    /// `example=cat`: its name.
    pub example: Option<String>,
}

impl Preferences {
    /// From the values of the field, in their order. What is malformed is left out: a preference is a wish.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut preferences = Self::default();
        for value in values {
            let mut rest = value;
            while !rest.is_empty() {
                rest = preferences.take(rest);
            }
        }
        preferences
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads one preference with its parameters, which mean nothing here; gives what stands behind it.
    fn take<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let (name, value, mut rest) = parameter(text);
        match name.to_ascii_lowercase().as_slice() {
            b"code" if self.code.is_none() => {
                self.code = value.and_then(|value| String::from_utf8(value).ok()?.parse().ok());
            }
            b"example" if self.example.is_none() => {
                self.example = value.and_then(|value| String::from_utf8(value).ok());
            }
            _ => {}
        }
        while let Some((first, after)) = rest.split_first() {
            match first {
                b',' => return after,
                b';' => rest = parameter(after).2,
                _ => rest = after, // no part of a preference
            }
        }
        rest
    }
}

/// `name`, `name=token` or `name="quoted"`, and what stands behind it.
fn parameter(text: &[u8]) -> (&[u8], Option<Vec<u8>>, &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| b"=;,".contains(byte)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.trim_ascii_end();
    let Some((b'=', rest)) = rest.split_first() else { return (name, None, rest) };
    let rest = rest.trim_ascii_start();
    if let Some((b'"', quoted)) = rest.split_first() {
        let (mut value, mut escaped) = (Vec::new(), false);
        for (index, byte) in quoted.iter().enumerate() {
            match byte {
                byte if escaped => {
                    value.push(*byte);
                    escaped = false;
                }
                b'\\' => escaped = true,
                b'"' => return (name, Some(value), &quoted[index + 1..]),
                byte => value.push(*byte),
            }
        }
        return (name, None, &[]); // it does not end
    }
    let end = rest.iter().position(|byte| b";,".contains(byte)).unwrap_or(rest.len());
    let (value, rest) = rest.split_at(end);
    (name, Some(value.trim_ascii_end().to_vec()), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_preference_counts() {
        let wants = |code: Option<u16>, example: Option<&str>| Preferences {
            code,
            example: example.map(str::to_owned),
        };
        for (values, wanted) in [
            (vec!["code=404"], wants(Some(404), None)),
            (vec!["code=404, example=cat"], wants(Some(404), Some("cat"))),
            (
                vec!["Code = 404 ;x=1; y=\"a,b\" , EXAMPLE=\"a \\\"cat\\\"\""],
                wants(Some(404), Some("a \"cat\"")),
            ),
            (
                vec!["respond-async, wait=10", "example=dog;q", "example=cat"],
                wants(None, Some("dog")),
            ),
            (vec!["code=teapot, example"], wants(None, None)),
            (vec!["code=99999999"], wants(None, None)),
            (vec!["example=\"cat"], wants(None, None)),
            (vec!["", ",,;;=,\"", "=x"], wants(None, None)),
            (vec!["example=\"\" x, code=200"], wants(Some(200), Some(""))),
        ] {
            let parsed = Preferences::parse(values.iter().map(|value| value.as_bytes()));
            assert_eq!(parsed, wanted, "{values:?}");
        }
    }
}
