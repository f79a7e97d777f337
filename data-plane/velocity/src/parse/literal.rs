//! Strings, numbers, booleans, lists, ranges and maps.

use super::{Parser, number};
use crate::error::Error;
use crate::program::{Const, Op};

impl Parser<'_> {
    /// `"…"`, where references and directives mean what they do elsewhere, or `'…'`, as it stands.
    pub(super) fn string(&mut self) -> Result<(), Error> {
        let start = self.at;
        let quote = self.bytes()[start];
        let end = self.string_end(start, quote)?;
        self.at = end;
        let raw = self.source[start + 1..end - 1].to_owned();
        let mut image = raw;
        if quote == b'"' && image.contains("\\u") {
            image = self.unescape(start, &image)?;
        }
        let pair = if quote == b'"' { "\"\"" } else { "''" };
        if image.contains(pair) {
            image = image.replace(pair, &pair[..1]);
        }
        if quote == b'\'' || !image.contains(['$', '#']) {
            let constant = self.builder.constant(Const::Text(image.into()));
            self.emit(start, Op::Const(constant));
            return Ok(());
        }
        self.descend(start)?;
        self.emit(start, Op::Capture);
        // The space keeps a last `$` or `#` from being the end of a template; a line comment needs none.
        let comment = image.contains("##");
        if !comment {
            image.push(' ');
        }
        self.interpolated(&image, start)?;
        self.emit(start, if comment { Op::Release } else { Op::ReleaseTrimmed });
        self.ascend();
        Ok(())
    }

    /// Behind the closing quote. A doubled quote stands for one, where the string still ends after it.
    fn string_end(&self, start: usize, quote: u8) -> Result<usize, Error> {
        let mut accepted = None;
        let mut at = start + 1;
        while let Some(length) = self.bytes()[at..].iter().position(|byte| *byte == quote) {
            at += length + 1;
            accepted = Some(at);
            if self.byte(at) != Some(quote) {
                break;
            }
            at += 1;
        }
        accepted.ok_or_else(|| {
            self.wrong(
                start,
                format!("a string that began with {} does not end", char::from(quote)),
            )
        })
    }

    /// `\u0041`.
    fn unescape(&self, start: usize, image: &str) -> Result<String, Error> {
        let mut units: Vec<u16> = Vec::with_capacity(image.len());
        let mut rest = image;
        while let Some(at) = rest.find("\\u") {
            units.extend(rest[..at].encode_utf16());
            let digits = rest
                .get(at + 2..at + 6)
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let Some(unit) = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) else {
                return Err(self.wrong(start, "`\\u` in a string needs four hexadecimal digits"));
            };
            units.push(unit);
            rest = &rest[at + 6..];
        }
        units.extend(rest.encode_utf16());
        // Half of a pair has no character; Java would write a question mark.
        let chars = char::decode_utf16(units).map(|unit| unit.unwrap_or('?'));
        Ok(chars.collect())
    }

    pub(super) fn boolean(&mut self) -> Result<(), Error> {
        let start = self.at;
        let end = self.identifier_end(start).unwrap_or(start);
        let value = match &self.source[start..end] {
            "true" => true,
            "false" => false,
            _ => {
                let found = self.found(start);
                return Err(
                    self.wrong(start, format!("expected a literal or a reference: {found}"))
                );
            }
        };
        self.at = end;
        let constant = self.builder.constant(Const::Bool(value));
        self.emit(start, Op::Const(constant));
        Ok(())
    }

    /// An integer of any size, or a double. A minus before digits belongs to the number.
    pub(super) fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        let digits = |from: usize| {
            let rest = &self.bytes()[from..];
            from + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
        };
        let first = start + usize::from(self.next() == Some(b'-'));
        let whole = digits(first);
        let mut end = whole;
        let mut float = false;
        if self.byte(whole) == Some(b'.') && self.byte(whole + 1) != Some(b'.') {
            let fraction = digits(whole + 1);
            if whole > first || fraction > whole + 1 {
                float = true;
                end = fraction;
            }
        }
        if whole > first || float {
            if let Some(b'e' | b'E') = self.byte(end) {
                let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
                let exponent = digits(end + 1 + sign);
                if exponent > end + 1 + sign {
                    float = true;
                    end = exponent;
                }
            }
        } else {
            let found = self.found(first);
            return Err(self.wrong(start, format!("a number has no digits: {found}")));
        }
        let text = &self.source[start..end];
        let value = if float {
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Const::Double(value),
                _ => return Err(self.wrong(start, format!("{text} is too large a number"))),
            }
        } else if let Ok(value) = text.parse::<i32>() {
            Const::Int(value)
        } else if let Ok(value) = text.parse::<i64>() {
            Const::Long(value)
        } else if let Ok(value) = text.parse::<i128>() {
            Const::Big(value)
        } else {
            return Err(self.wrong(start, "an integer has more digits than are taken"));
        };
        self.at = end;
        let constant = self.builder.constant(value);
        self.emit(start, Op::Const(constant));
        Ok(())
    }

    /// `[a, b]` or `[from..to]`.
    pub(super) fn list(&mut self, names: bool) -> Result<(), Error> {
        let start = self.at;
        self.descend(start)?;
        self.at += 1;
        self.skip_whitespace();
        if self.next() == Some(b']') {
            self.at += 1;
            self.emit(start, Op::List(0));
            self.ascend();
            return Ok(());
        }
        let bound = matches!(self.next(), Some(b'$' | b'-' | b'0'..=b'9'));
        self.parameter(names)?;
        self.skip_whitespace();
        if bound && self.looking_at("..") {
            self.at += 2;
            self.skip_whitespace();
            match self.next() {
                Some(b'$') => self.operand_reference()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => {
                    let found = self.found(self.at);
                    let message = format!("a range ends with an integer or a reference: {found}");
                    return Err(self.wrong(self.at, message));
                }
            }
            self.skip_whitespace();
            if self.next() != Some(b']') {
                let found = self.found(self.at);
                return Err(self.wrong(self.at, format!("a range must end with `]`: {found}")));
            }
            self.at += 1;
            self.emit(start, Op::Range);
            self.ascend();
            return Ok(());
        }
        let mut count = 1_usize;
        while self.separator(b']')? {
            self.parameter(names)?;
            count += 1;
        }
        self.emit(start, Op::List(number(count)));
        self.ascend();
        Ok(())
    }

    /// `{key: value, …}`, in that order.
    pub(super) fn map(&mut self, names: bool) -> Result<(), Error> {
        let start = self.at;
        self.descend(start)?;
        self.at += 1;
        self.skip_whitespace();
        let mut count = 0_usize;
        if self.next() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                self.parameter(names)?;
                self.skip_whitespace();
                if self.next() != Some(b':') {
                    let found = self.found(self.at);
                    return Err(self.wrong(self.at, format!("a map's key needs a `:`: {found}")));
                }
                self.at += 1;
                self.parameter(names)?;
                count += 1;
                if !self.separator(b'}')? {
                    break;
                }
            }
        }
        self.emit(start, Op::Map(number(count)));
        self.ascend();
        Ok(())
    }
}
