//! The value of an API key: `tg_live_` or `tg_test_`, 32 random characters, and a checksum by which scanners
//! for leaked secrets know it without asking us.

use secrecy::{ExposeSecret, SecretString};

use crate::domain::api_key::KeyMode;
use crate::error::{Error, Result};
use crate::ids::Rng;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^32 is more than 2^190.
const RANDOM_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
const PREFIX: &str = "tg_";

/// A value that a caller may choose is as long as AWS allows.
const SUPPLIED_BYTES: std::ops::RangeInclusive<usize> = 20..=128;

/// Shown once; it has no `Debug` that shows it.
pub struct KeyValue(SecretString);

impl KeyValue {
    pub fn draw(rng: Rng, mode: KeyMode) -> Self {
        let random = rng.text(BASE62, RANDOM_CHARS);
        let mut value = format!("{}{random}", prefix(mode));
        value.push_str(&checksum(&value));
        Self(value.into())
    }

    /// A value that the caller brings along: printable ASCII, so that it fits into a header. One that looks
    /// like ours must be like ours.
    pub fn supplied(value: SecretString, mode: KeyMode) -> Result<Self> {
        let text = value.expose_secret();
        if !SUPPLIED_BYTES.contains(&text.len()) {
            return Err(Error::bad_request("value", "must have from 20 to 128 characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::bad_request("value", "must be printable ASCII without spaces"));
        }
        if text.starts_with(PREFIX) && !(text.starts_with(prefix(mode)) && is_well_formed(text)) {
            let rule =
                format!("starts with {PREFIX} but is not a key that Tollgate made for its mode");
            return Err(Error::bad_request("value", rule));
        }
        Ok(Self(value))
    }

    /// What tells keys apart without giving them away: the last four characters.
    pub fn hint(&self) -> &str {
        let text = self.0.expose_secret();
        &text[text.len().saturating_sub(4)..] // all of it is ASCII
    }
}

impl ExposeSecret<str> for KeyValue {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

fn prefix(mode: KeyMode) -> &'static str {
    match mode {
        KeyMode::Live => "tg_live_",
        KeyMode::Test => "tg_test_",
    }
}

/// Whether the last six characters are the checksum of those before.
fn is_well_formed(value: &str) -> bool {
    let Some((body, sum)) = value.split_at_checked(value.len().saturating_sub(CHECKSUM_CHARS))
    else {
        return false;
    };
    let random =
        body.strip_prefix(prefix(KeyMode::Live)).or(body.strip_prefix(prefix(KeyMode::Test)));
    random.is_some_and(|random| random.len() == RANDOM_CHARS) && checksum(body) == sum
}

/// CRC-32 (ISO-HDLC, as in zip files) in base 62, six digits, the highest first.
fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut digits = [BASE62[0]; CHECKSUM_CHARS]; // 62^6 is more than 2^32
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % BASE62.len()];
        rest /= BASE62.len();
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_crc_32_in_base_62() {
        // CRC-32 of "123456789" is 0xCBF43926 = 3421780262.
        let mut value = 0_u64;
        for digit in checksum("123456789").bytes() {
            let at = BASE62.iter().position(|known| *known == digit).unwrap();
            value = value * 62 + at as u64;
        }
        assert_eq!(value, 3_421_780_262);
        assert_eq!(checksum(""), "000000");
    }

    #[test]
    fn a_drawn_value_says_its_mode_and_passes_its_own_check() {
        let live = KeyValue::draw(Rng, KeyMode::Live);
        let test = KeyValue::draw(Rng, KeyMode::Test);

        let (live, test) = (live.expose_secret(), test.expose_secret());
        assert!(live.starts_with("tg_live_") && test.starts_with("tg_test_"));
        assert_eq!((live.len(), test.len()), (46, 46));
        assert!(is_well_formed(live) && is_well_formed(test));
    }

    #[test]
    fn one_changed_character_breaks_the_checksum() {
        let value = KeyValue::draw(Rng, KeyMode::Live);
        let value = value.expose_secret();
        for at in 8..value.len() {
            let mut bytes = value.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(!is_well_formed(&changed), "{changed} from {value}");
        }
    }

    #[test]
    fn a_supplied_value_is_printable_and_not_a_broken_one_of_ours() {
        let supplied = |text: &str| KeyValue::supplied(text.into(), KeyMode::Live);
        let own = KeyValue::draw(Rng, KeyMode::Live);
        let other_mode = KeyValue::draw(Rng, KeyMode::Test);

        assert_eq!(supplied("0123456789abcdef=!~x").unwrap().hint(), "=!~x");
        assert!(supplied(&"x".repeat(128)).is_ok());
        assert!(supplied(own.expose_secret()).is_ok());
        for wrong in [
            "",
            "0123456789abcdef012",
            &"x".repeat(129),
            "0123456789 0123456789",
            "0123456789\n0123456789",
            "01234567890123456789é",
            "tg_live_0123456789abcdef",
            other_mode.expose_secret(),
        ] {
            let error = supplied(wrong).err().unwrap();
            assert_eq!(error.param(), Some("value"), "{wrong}");
        }
    }
}
