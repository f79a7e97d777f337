//! Passwords: which are accepted (NIST SP 800-63B-4 §3.1.1.2) and how they are kept (argon2id).

use std::sync::LazyLock;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The fewest characters, where a password is the only factor.
pub const CHARS_MIN: usize = 15;
/// The most characters. The standard asks for at least 64; the bound keeps hashing cheap.
pub const CHARS_MAX: usize = 256;

/// Characters that must remain of a password once what everybody tries first is taken out of it.
const REMAINDER_CHARS_MIN: usize = 6;

/// The parts that common passwords of this length are made of; `blocklist.txt` holds one in each line.
const BLOCKLIST: &str = include_str!("blocklist.txt");

/// Alphabet, digits and the rows of keyboards: four or more neighbours in a row are one guess.
const SEQUENCES: [&str; 8] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1q2w3e4r5t6y7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujmikolp",
];

/// How many hashes are computed at once. Each takes 19 MiB and some 20 ms of a core.
static AT_ONCE: LazyLock<Semaphore> = LazyLock::new(|| {
    Semaphore::new(std::thread::available_parallelism().map_or(2, std::num::NonZero::get))
});

/// How long a caller waits for its turn before being told to come back.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// What a log-in is checked against where the email belongs to nobody, so that it takes the same time.
static NOBODYS_HASH: LazyLock<String> = LazyLock::new(|| {
    hash_now(&crate::ids::Rng.text(b"abcdefghijklmnopqrstuvwxyz", 32)).unwrap_or_default()
});

/// A password as somebody typed it. It has no `Debug` that shows it, and no `Serialize`.
#[derive(Clone, serde::Deserialize)]
#[serde(from = "String")]
pub struct Password(Zeroizing<String>);

impl Password {
    /// NFC, so that one keyboard's `ü` is another's; beyond [`CHARS_MAX`] nothing is read.
    pub fn new(typed: &str) -> Self {
        Self(Zeroizing::new(typed.chars().take(CHARS_MAX + 1).nfc().collect()))
    }

    /// Whether it may be chosen. `about` is what the account is known by (email, tenant): words that others
    /// can guess. There are no rules about kinds of characters.
    pub fn accept(&self, about: &[&str]) -> Result<()> {
        let refuse = |why: String| Err(Error::bad_request("password", why));
        let chars = self.0.chars().count();
        if chars < CHARS_MIN {
            return refuse(format!("a password has at least {CHARS_MIN} characters"));
        }
        if chars > CHARS_MAX {
            return refuse(format!("a password has at most {CHARS_MAX} characters"));
        }
        if guessable(&self.0, about) {
            return refuse(
                "this password is too easy to guess: it is common, repetitive, or made of your email or tenant"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Hashes on a thread that may block, with a bounded number at once. The form is PHC, with salt and cost.
    pub async fn hash(&self) -> Result<String> {
        let typed = self.0.clone();
        on_thread(move || hash_now(&typed)).await?
    }

    /// Whether `hash` is of this password. Without a hash the answer is no, after the same work.
    pub async fn matches(&self, hash: Option<String>) -> Result<bool> {
        let typed = self.0.clone();
        on_thread(move || {
            let known = hash.is_some();
            let nobodys = NOBODYS_HASH.clone(); // also where it is not used: its first use makes it
            let hash = hash.unwrap_or(nobodys);
            let parsed = PasswordHash::new(&hash)
                .map_err(|cause| Error::corrupt("password hash", cause.to_string()))?;
            Ok(Argon2::default().verify_password(typed.as_bytes(), &parsed).is_ok() && known)
        })
        .await?
    }
}

impl From<String> for Password {
    fn from(typed: String) -> Self {
        Self::new(&typed)
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Password(…)")
    }
}

/// Argon2id with 19 MiB, two passes and one lane: the first of OWASP's equals, and the crate's default.
fn hash_now(typed: &str) -> Result<String> {
    let hash = Argon2::default().hash_password(typed.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|cause| Error::internal(cause.to_string()))
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let turn: SemaphorePermit<'static> = timeout(TURN_WITHIN, AT_ONCE.acquire())
        .await
        .map_err(|_| Error::TooManyRequests { retry_after_seconds: 5 })?
        .map_err(Error::internal)?;
    // The permit goes along: a caller who gives up frees its place only when the work is done.
    let work = move || {
        let answer = work();
        drop(turn);
        answer
    };
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)
}

/// Whether hardly anything is left of the password without repetition, sequences, years, common words and what
/// the account is known by.
fn guessable(password: &str, about: &[&str]) -> bool {
    let plain: String =
        password.to_lowercase().chars().map(unleet).filter(|c| c.is_alphanumeric()).collect();
    let mut words: Vec<String> =
        BLOCKLIST.lines().map(|word| word.chars().map(unleet).collect()).collect();
    for text in about {
        let parts = text.split(|c: char| !c.is_alphanumeric());
        words.extend(
            parts
                .filter(|part| part.chars().count() >= 3)
                .map(|part| part.to_lowercase().chars().map(unleet).collect()),
        );
    }
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let mut rest = without_sequences(unit(&plain));
    for word in &words {
        rest = rest.replace(word.as_str(), " ");
    }
    rest.chars().filter(|c| *c != ' ').count() < REMAINDER_CHARS_MIN
}

/// `p4ssw0rd` is `password` to whoever guesses.
fn unleet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// The shortest text that repeats to make `text`: `abc` of `abcabcab`.
fn unit(text: &str) -> &str {
    let shortest = text.char_indices().map(|(at, _)| at).skip(1).find(|length| {
        text.as_bytes().iter().zip(&text.as_bytes()[*length..]).all(|(here, later)| here == later)
    });
    shortest.map_or(text, |length| &text[..length])
}

/// `text` without runs of four and more neighbours of one of [`SEQUENCES`], in either direction.
fn without_sequences(text: &str) -> String {
    let runs: Vec<Vec<char>> = SEQUENCES
        .iter()
        .flat_map(|sequence| {
            let forward: Vec<char> = sequence.chars().map(unleet).collect();
            let backward = forward.iter().rev().copied().collect();
            [forward, backward]
        })
        .collect();
    let chars: Vec<char> = text.chars().collect();
    let mut left = String::new();
    let mut at = 0;
    while at < chars.len() {
        let longest = runs.iter().map(|run| run_length(&chars[at..], run)).max().unwrap_or(0);
        if longest >= 4 {
            left.push(' ');
            at += longest;
        } else {
            left.push(chars[at]);
            at += 1;
        }
    }
    left
}

/// How many characters `text` and some place of `run` have in common.
fn run_length(text: &[char], run: &[char]) -> usize {
    let common = |from: usize| text.iter().zip(&run[from..]).take_while(|(a, b)| a == b).count();
    (0..run.len()).map(common).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(password: &str) -> bool {
        Password::new(password)
            .accept(&["ada.lovelace@analytical.example", "Difference Engine"])
            .is_ok()
    }

    #[test]
    fn a_password_has_15_to_256_characters_of_any_kind() {
        let phrase = "violet otter juggles quietly ";
        assert!(accepted("violet otter ju"));
        assert!(!accepted("violet otter j"));
        assert!(accepted(&phrase.repeat(9)[..256].replace("otter", "heron")));
        assert!(!accepted(&"violet otter juggles a stone ".repeat(9)));
        assert!(accepted("пароль длинный и свой")); // characters, not bytes, and no class of them is asked for
        assert!(accepted("84730195720461983"));
    }

    #[test]
    fn a_common_repetitive_or_personal_password_is_refused() {
        for common in [
            "passwordpassword",
            "Password1234567!",
            "P@ssw0rd12345678",
            "123456789012345",
            "qwertyuiopasdfgh",
            "qwertyuiop123456",
            "1q2w3e4r5t6y7u8i",
            "aaaaaaaaaaaaaaaa",
            "abcabcabcabcabca",
            "ninjaninjaninjaninja",
            "iloveyouiloveyou",
            "correct horse battery staple",
            "administrator2026",
            "letmeinletmein!!",
            "summer2025summer2026",
            "ada.lovelace@analytical.example",
            "AdaLovelace1234",
            "difference-engine-1!",
            "tollgatetollgate1",
        ] {
            assert!(!accepted(common), "{common}");
        }
    }

    #[tokio::test]
    async fn a_hash_matches_its_password_only() {
        let password = Password::new("violet otter juggles");
        let hash = password.hash().await.unwrap();

        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(password.matches(Some(hash.clone())).await.unwrap());
        assert!(!Password::new("violet otter juggled").matches(Some(hash.clone())).await.unwrap());
        assert!(!password.matches(None).await.unwrap());
        assert_ne!(hash, password.hash().await.unwrap());
        let decomposed = Password::new("u\u{308}ber die Berge weit");
        assert!(
            decomposed
                .matches(Some(Password::new("über die Berge weit").hash().await.unwrap()))
                .await
                .unwrap()
        );
    }

    #[test]
    fn a_password_does_not_show_itself() {
        assert_eq!(format!("{:?}", Password::new("violet otter juggles")), "Password(…)");
    }
}
