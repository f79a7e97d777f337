//! Java's regular expressions on an engine that takes linear time. What that engine cannot do (looking around, going
//! back to a group, possessive quantifiers) is refused by name.

use regex::{Regex, RegexBuilder};

use crate::error::Fault;
use crate::number::excerpt;

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;
/// What a compiled pattern may take, in bytes, each with the steps that a byte of text is counted for: a search may look
/// at each of them once for every state of the automaton.
const SIZES: &[(usize, usize)] = &[(4 << 10, 2), (16 << 10, 8), (64 << 10, 40)];
const NESTING_MAX: u32 = 32;

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Anchored at both ends, for `matches`.
    whole: Regex,
    weight: usize,
}

impl Pattern {
    pub(crate) fn compile(java: &str) -> Result<Self, Fault> {
        if java.len() > PATTERN_BYTES_MAX {
            return Err(Fault::call(format!("the pattern is over {PATTERN_BYTES_MAX} bytes long")));
        }
        let translated = translate(java)?;
        for (size, weight) in SIZES {
            match build(&translated, *size) {
                Ok(regex) => {
                    let whole = build(&format!(r"\A(?:{translated})\z"), 2 * *size)
                        .map_err(|error| refused(java, &error))?;
                    return Ok(Self { regex, whole, weight: *weight });
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => return Err(refused(java, &error)),
            }
        }
        Err(Fault::call(format!("the pattern \"{}\" is too large", excerpt(java))))
    }

    pub(crate) fn regex(&self) -> &Regex {
        &self.regex
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }

    /// Steps of a search through that much text.
    pub(crate) fn steps(&self, bytes: usize) -> usize {
        8 + bytes.saturating_mul(self.weight)
    }
}

fn build(pattern: &str, size: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(size).nest_limit(NESTING_MAX).build()
}

fn refused(java: &str, error: &regex::Error) -> Fault {
    let text = error.to_string();
    let cause = text.lines().last().unwrap_or_default().trim();
    let cause = cause.strip_prefix("error: ").unwrap_or(cause);
    Fault::call(format!("the pattern \"{}\" is not taken: {cause}", excerpt(java)))
}

/// POSIX classes of Java's, by their names.
const CLASSES: &[(&str, &str)] = &[
    ("Lower", "a-z"),
    ("Upper", "A-Z"),
    ("ASCII", r"\x00-\x7F"),
    ("Alpha", "a-zA-Z"),
    ("Digit", "0-9"),
    ("Alnum", "a-zA-Z0-9"),
    ("Punct", "!-/:-@\\[-`{-~"),
    ("Graph", "!-~"),
    ("Print", " -~"),
    ("Blank", r" \t"),
    ("Cntrl", r"\x00-\x1F\x7F"),
    ("XDigit", "0-9a-fA-F"),
    ("Space", r" \t\n\x0B\f\r"),
];

/// Whether a flag `(?s)` stands somewhere: a dot is then as the engine has it, which ends at line feeds without the flag.
fn dot_takes_lines(java: &str) -> bool {
    java.split("(?").skip(1).any(|rest| {
        let flags = rest.chars().take_while(char::is_ascii_lowercase);
        flags.clone().any(|flag| flag == 's') && {
            let end = rest.chars().nth(flags.count());
            matches!(end, Some(')' | ':' | '-'))
        }
    })
}

/// To the syntax of the engine: classes that are ASCII in Java are here, too.
fn translate(java: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(java.len() + 16);
    let mut chars = java.chars().peekable();
    // Brackets that are open: a class within a class is one in both.
    let mut class = 0_u32;
    let lines = dot_takes_lines(java);
    let mut repeated = false;
    while let Some(c) = chars.next() {
        let quantifier = class == 0 && matches!(c, '*' | '+' | '?' | '{');
        if std::mem::replace(&mut repeated, quantifier) && c == '+' {
            let message = format!(
                "the pattern \"{}\" is not taken: it has a possessive quantifier",
                excerpt(java)
            );
            return Err(Fault::call(message));
        }
        match c {
            '\\' => escape(java, &mut chars, class > 0, &mut out)?,
            '[' => {
                class += 1;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
                // First in a class it stands for itself.
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str(r"\]");
                }
            }
            ']' if class > 0 => {
                class -= 1;
                out.push(']');
            }
            ']' => out.push_str(r"\]"),
            '}' => out.push_str(r"\}"),
            '{' if class == 0 => {
                // Only a quantifier here; Java refuses others, too.
                out.push('{');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            '.' if class == 0 && !lines => out.push_str(r"[^\n\r\u{85}\u{2028}\u{2029}]"),
            '~' | '-' if class > 0 && chars.peek() == Some(&c) => {
                // Doubled they mean something to the engine only.
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn escape(
    java: &str,
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    class: bool,
    out: &mut String,
) -> Result<(), Fault> {
    let not_taken =
        |what: &str| Fault::call(format!("the pattern \"{}\" is not taken: {what}", excerpt(java)));
    let Some(c) = chars.next() else { return Err(not_taken("it ends with a backslash")) };
    let set = |within: &str, negated: bool| match (class, negated) {
        (true, false) => within.to_owned(),
        (_, true) => format!("[^{within}]"),
        (false, false) => format!("[{within}]"),
    };
    match c {
        'd' => out.push_str(&set("0-9", false)),
        'D' => out.push_str(&set("0-9", true)),
        'w' => out.push_str(&set("a-zA-Z0-9_", false)),
        'W' => out.push_str(&set("a-zA-Z0-9_", true)),
        's' => out.push_str(&set(r" \t\n\x0B\f\r", false)),
        'S' => out.push_str(&set(r" \t\n\x0B\f\r", true)),
        'h' => out.push_str(&set(r" \t\xA0", false)),
        'R' if !class => out.push_str(r"(?:\r\n|[\n\x0B\f\r\u{85}\u{2028}\u{2029}])"),
        'b' if !class => out.push_str(r"(?-u:\b)"),
        'B' if !class => out.push_str(r"\B"),
        'Z' if !class => out.push_str(r"\z"),
        'A' | 'z' if !class => {
            out.push('\\');
            out.push(c);
        }
        'n' | 'r' | 't' | 'f' | 'a' => {
            out.push('\\');
            out.push(c);
        }
        'e' => out.push_str(r"\x1B"),
        'x' | 'u' => {
            let length = if c == 'x' { 2 } else { 4 };
            let digits: String = chars.by_ref().take(length).collect();
            if digits.len() != length || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(not_taken("a character's number is malformed"));
            }
            out.push_str(r"\u{");
            out.push_str(&digits);
            out.push('}');
        }
        'p' | 'P' => {
            let mut name = String::new();
            match chars.next() {
                Some('{') => {
                    for c in chars.by_ref() {
                        if c == '}' {
                            break;
                        }
                        name.push(c);
                    }
                }
                Some(c) => name.push(c),
                None => {}
            }
            let plain = name.strip_prefix("Is").unwrap_or(&name);
            let Some((_, within)) = CLASSES.iter().find(|(known, _)| *known == plain) else {
                return Err(not_taken(&format!(
                    "\\p{{{}}} is no class that is known",
                    excerpt(&name)
                )));
            };
            out.push_str(&set(within, c == 'P'));
        }
        'Q' => {
            let mut quoted = String::new();
            for c in chars.by_ref() {
                quoted.push(c);
                if quoted.ends_with("\\E") {
                    quoted.truncate(quoted.len() - 2);
                    break;
                }
            }
            out.push_str(&regex::escape(&quoted));
        }
        'E' => {}
        '0'..='9' | 'k' => return Err(not_taken("it goes back to a group")),
        'G' => return Err(not_taken("\\G is not supported")),
        c if c.is_ascii_alphabetic() => {
            return Err(not_taken(&format!("\\{c} is not supported")));
        }
        c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
    }
    Ok(())
}

/// Java's replacement: `$1`, `${name}`, and a backslash before what stands for itself. Gives text and groups in turn.
pub(crate) enum Piece {
    Text(String),
    Group(usize),
    Named(String),
}

pub(crate) fn replacement(java: &str, groups: usize) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = java.chars().peekable();
    let illegal = || Fault::call("Illegal group reference in a replacement");
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c) => text.push(c),
                None => return Err(Fault::call("a replacement ends with a backslash")),
            },
            '$' => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                match chars.next() {
                    Some('{') => {
                        let mut name = String::new();
                        loop {
                            match chars.next() {
                                Some('}') => break,
                                Some(c) if c.is_ascii_alphanumeric() => name.push(c),
                                _ => return Err(illegal()),
                            }
                        }
                        pieces.push(Piece::Named(name));
                    }
                    Some(c) if c.is_ascii_digit() => {
                        let mut group = c.to_digit(10).unwrap_or(0) as usize;
                        if group >= groups {
                            return Err(Fault::call(format!("No group {group}")));
                        }
                        // As many digits as still name a group.
                        while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                            let longer = group * 10 + digit as usize;
                            if longer >= groups {
                                break;
                            }
                            group = longer;
                            chars.next();
                        }
                        pieces.push(Piece::Group(group));
                    }
                    _ => return Err(illegal()),
                }
            }
            c => text.push(c),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}
