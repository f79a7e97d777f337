//! The grammar of paths and filters.

use serde_json::Value;

use super::filter::{Comparison, Filter, Operand, Pattern};
use super::function::{Function, Given};
use super::{JsonPath, NESTING_MAX, PATH_BYTES_MAX, PathError, STEPS_MAX, Step};

pub(super) fn path(text: &str) -> Result<JsonPath, PathError> {
    if text.len() > PATH_BYTES_MAX {
        let message = format!("a path has {PATH_BYTES_MAX} bytes at most");
        return Err(PathError { at: 0, message });
    }
    let trimmed = text.trim();
    let rooted =
        if trimmed.starts_with(['$', '@']) { trimmed.to_owned() } else { format!("$.{trimmed}") };
    let mut parser = Parser { text: &rooted, at: 1, depth: 0 };
    let (steps, function) = parser.steps()?;
    if parser.at < rooted.len() {
        return Err(parser.wrong("a step begins with `.` or `[`"));
    }
    Ok(JsonPath { steps, function })
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
}

impl Parser<'_> {
    fn wrong(&self, message: impl Into<String>) -> PathError {
        PathError { at: self.at, message: message.into() }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn spaces(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.next() {
            self.at += 1;
        }
    }

    fn expect(&mut self, text: &str) -> Result<(), PathError> {
        self.spaces();
        if self.take(text) { Ok(()) } else { Err(self.wrong(format!("`{text}` is missing"))) }
    }

    fn descend(&mut self) -> Result<(), PathError> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(self.wrong(format!("nested over {NESTING_MAX} deep")));
        }
        Ok(())
    }

    /// Behind `$` or `@`.
    fn steps(&mut self) -> Result<(Vec<Step>, Option<Function>), PathError> {
        let mut steps = Vec::new();
        loop {
            if steps.len() > STEPS_MAX {
                return Err(self.wrong(format!("a path has {STEPS_MAX} steps at most")));
            }
            match self.next() {
                Some(b'.') => {
                    if self.take("..") {
                        steps.push(Step::Descend);
                        if self.next() == Some(b'[') {
                            steps.push(self.bracket()?);
                            continue;
                        }
                    } else {
                        self.at += 1;
                    }
                    if self.take("*") {
                        steps.push(Step::Any);
                        continue;
                    }
                    if self.next() == Some(b'[') {
                        return Err(self.wrong("`.[` is no step"));
                    }
                    let start = self.at;
                    let name = self.name()?;
                    if self.next() == Some(b'(') {
                        let function = self.function(start, &name)?;
                        return Ok((steps, Some(function)));
                    }
                    steps.push(Step::Name(name));
                }
                Some(b'[') => steps.push(self.bracket()?),
                _ => return Ok((steps, None)),
            }
        }
    }

    /// A name behind a dot: up to what cannot be in one.
    fn name(&mut self) -> Result<String, PathError> {
        let ends = |c: char| {
            matches!(
                c,
                '.' | '['
                    | ']'
                    | '('
                    | ')'
                    | ','
                    | '='
                    | '<'
                    | '>'
                    | '!'
                    | '&'
                    | '|'
                    | '~'
                    | '"'
                    | '\''
            ) || c.is_whitespace()
        };
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.wrong("a name is missing"));
        }
        let name = self.rest()[..length].to_owned();
        self.at += length;
        Ok(name)
    }

    fn bracket(&mut self) -> Result<Step, PathError> {
        self.at += 1;
        self.spaces();
        let step = match self.next() {
            Some(b'*') => {
                self.at += 1;
                Step::Any
            }
            Some(b'\'' | b'"') => {
                let mut names = vec![self.string()?];
                self.spaces();
                while self.take(",") {
                    self.spaces();
                    names.push(self.string()?);
                    self.spaces();
                }
                match <[String; 1]>::try_from(names) {
                    Ok([name]) => Step::Name(name),
                    Err(names) => Step::Names(names),
                }
            }
            Some(b'?') => {
                self.at += 1;
                self.expect("(")?;
                self.descend()?;
                let filter = self.either()?;
                self.depth -= 1;
                self.expect(")")?;
                Step::Filter(Box::new(filter))
            }
            Some(b'-' | b':' | b'0'..=b'9') => self.places()?,
            _ => {
                return Err(
                    self.wrong("brackets hold names in quotes, indices, a slice, `*` or `?(…)`")
                );
            }
        };
        self.expect("]")?;
        Ok(step)
    }

    fn integer(&mut self) -> Result<Option<i64>, PathError> {
        let minus = usize::from(self.next() == Some(b'-'));
        let digits = self.rest()[minus..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return if minus == 0 { Ok(None) } else { Err(self.wrong("an index has no digits")) };
        }
        let Ok(value) = self.rest()[..minus + digits].parse::<i32>() else {
            return Err(self.wrong("an index is too large"));
        };
        self.at += minus + digits;
        self.spaces();
        Ok(Some(i64::from(value)))
    }

    /// `0`, `0,1`, `0:1`, `:1`, `-1:`
    fn places(&mut self) -> Result<Step, PathError> {
        let first = self.integer()?;
        if self.take(":") {
            self.spaces();
            let to = self.integer()?;
            if first.is_none() && to.is_none() {
                return Err(self.wrong("a slice needs a beginning or an end"));
            }
            return Ok(Step::Slice(first, to));
        }
        let Some(first) = first else { return Err(self.wrong("an index has no digits")) };
        let mut all = vec![first];
        while self.take(",") {
            self.spaces();
            let Some(next) = self.integer()? else {
                return Err(self.wrong("an index has no digits"));
            };
            all.push(next);
        }
        Ok(if all.len() == 1 { Step::Index(first) } else { Step::Indices(all) })
    }

    /// `'…'` or `"…"`, where a backslash keeps what follows it.
    fn string(&mut self) -> Result<String, PathError> {
        let Some(quote @ (b'\'' | b'"')) = self.next() else {
            return Err(self.wrong("a name in quotes is missing"));
        };
        let start = self.at;
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == char::from(quote) {
                self.at += at + 1;
                return Ok(value);
            }
            if c != '\\' {
                value.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 'u')) => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    let unit = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                    let Some(unit) = unit else {
                        return Err(self.wrong("`\\u` needs four digits"));
                    };
                    value.push(char::from_u32(unit).unwrap_or('?'));
                }
                Some((_, c)) => value.push(c),
                None => break,
            }
        }
        self.at = start;
        Err(self.wrong("a string does not end"))
    }

    /// `name(…)` at the end of a path.
    fn function(&mut self, start: usize, name: &str) -> Result<Function, PathError> {
        self.at += 1;
        self.descend()?;
        let mut given = Vec::new();
        self.spaces();
        while self.next() != Some(b')') {
            if !given.is_empty() {
                self.expect(",")?;
                self.spaces();
            }
            if given.len() >= 16 {
                return Err(self.wrong("a function takes 16 arguments at most"));
            }
            given.push(if let Some(b'$' | b'@') = self.next() {
                self.at += 1;
                let (steps, function) = self.steps()?;
                Given::Path(JsonPath { steps, function })
            } else {
                Given::Value(self.literal()?)
            });
            self.spaces();
        }
        self.at += 1;
        self.depth -= 1;
        Function::named(name, given)
            .ok_or_else(|| PathError { at: start, message: format!("{name}() is no function") })
    }

    /// A literal of JSON, strings in either quotes.
    fn literal(&mut self) -> Result<Value, PathError> {
        if let Some(b'\'' | b'"') = self.next() {
            return self.string().map(Value::String);
        }
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = self.rest().bytes().take_while(plain).count();
        if length > 0 {
            let Ok(value) = serde_json::from_str(&self.rest()[..length]) else {
                return Err(self.wrong("a value is missing"));
            };
            self.at += length;
            return Ok(value);
        }
        let mut stream = serde_json::Deserializer::from_str(self.rest()).into_iter::<Value>();
        let Some(Ok(value)) = stream.next() else { return self.loose_list() };
        let taken = stream.byte_offset();
        self.at += taken;
        Ok(value)
    }

    /// `['a', 1]`: a list with strings in single quotes.
    fn loose_list(&mut self) -> Result<Value, PathError> {
        if !self.take("[") {
            return Err(self.wrong("a value is missing"));
        }
        self.descend()?;
        let mut values = Vec::new();
        self.spaces();
        while !self.take("]") {
            if !values.is_empty() {
                self.expect(",")?;
                self.spaces();
            }
            values.push(self.literal()?);
            self.spaces();
        }
        self.depth -= 1;
        Ok(Value::Array(values))
    }

    /// `a || b`
    fn either(&mut self) -> Result<Filter, PathError> {
        let mut filters = vec![self.all()?];
        self.spaces();
        while self.take("||") {
            filters.push(self.all()?);
            self.spaces();
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::Either(filters) })
    }

    /// `a && b`
    fn all(&mut self) -> Result<Filter, PathError> {
        let mut filters = vec![self.not()?];
        self.spaces();
        while self.take("&&") {
            filters.push(self.not()?);
            self.spaces();
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::All(filters) })
    }

    fn not(&mut self) -> Result<Filter, PathError> {
        self.spaces();
        self.descend()?;
        let filter = if self.next() == Some(b'!') {
            self.at += 1;
            Filter::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let inner = self.either()?;
            self.expect(")")?;
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn comparison(&mut self) -> Result<Filter, PathError> {
        let left = self.operand()?;
        self.spaces();
        let Some((comparison, length)) = Comparison::read(self.rest()) else {
            return match left {
                Operand::Path { .. } => Ok(Filter::There(left)),
                _ => Err(self.wrong("an operator is missing")),
            };
        };
        self.at += length;
        self.spaces();
        let right = self.operand()?;
        if comparison == Comparison::Matches
            && !matches!((&left, &right), (Operand::Pattern(_), _) | (_, Operand::Pattern(_)))
        {
            return Err(self.wrong("`=~` needs a pattern in slashes"));
        }
        Ok(Filter::Compare(left, comparison, right))
    }

    fn operand(&mut self) -> Result<Operand, PathError> {
        match self.next() {
            Some(first @ (b'$' | b'@')) => {
                self.at += 1;
                let (steps, function) = self.steps()?;
                Ok(Operand::Path { root: first == b'$', path: JsonPath { steps, function } })
            }
            Some(b'/') => {
                let start = self.at;
                let mut end = self.at + 1;
                loop {
                    match self.text.as_bytes().get(end) {
                        Some(b'/') => break,
                        Some(b'\\') => end += 2,
                        Some(_) => end += 1,
                        None => return Err(self.wrong("a pattern does not end")),
                    }
                }
                let Some(pattern) = self.text.get(start + 1..end) else {
                    return Err(self.wrong("a pattern does not end"));
                };
                let rest = &self.text[end + 1..];
                let flags = rest.bytes().take_while(u8::is_ascii_lowercase).count();
                let compiled = Pattern::compile(pattern, &rest[..flags])
                    .map_err(|message| PathError { at: start, message })?;
                self.at = end + 1 + flags;
                Ok(Operand::Pattern(compiled))
            }
            _ => self.literal().map(Operand::Value),
        }
    }
}
