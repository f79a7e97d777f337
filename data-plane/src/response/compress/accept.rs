//! Which coding of an answer a caller prefers, by its `Accept-Encoding` (RFC 9110 §12.5.3).

/// How a body can be compressed (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Brotli,
    Gzip,
    /// `deflate`: the zlib format.
    Deflate,
}

/// What a dialect offers.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Of those that a caller weighs alike, the first is taken.
    pub(crate) codings: &'static [Coding],
    /// Whether `*` stands for all that are not named. In AWS it stands for nothing.
    pub(crate) any: bool,
    /// Whether caches are told by `Vary`, and what is compressed by its media type is left as it is.
    pub(crate) careful: bool,
}

impl Offer {
    /// Every coding, the cheapest first: `deploy/runbooks/nodes.md` has what each costs.
    pub(crate) const NATIVE: Self = Self {
        codings: &[Coding::Zstd, Coding::Brotli, Coding::Gzip, Coding::Deflate],
        any: true,
        careful: true,
    };
    pub(crate) const AWS: Self =
        Self { codings: &[Coding::Gzip, Coding::Deflate], any: false, careful: false };
}

impl Coding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    pub(crate) fn is_named(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.name().as_bytes())
            || self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// Nobody has more to say than this; what comes after is not read.
const NAMES_MAX: usize = 64;

/// What a caller makes of a coding, in thousandths; 0: it must not be used.
type Weight = u16;

/// `None`: as it is. A caller that says nothing gets it so, whatever it would take.
pub(crate) fn choose<'a>(fields: impl Iterator<Item = &'a [u8]>, offer: &Offer) -> Option<Coding> {
    let mut weights = [None; 4];
    let (mut as_it_is, mut any) = (None, None);
    let members = fields.flat_map(|field| field.split(|byte| *byte == b','));
    for member in members.take(NAMES_MAX) {
        let Some((name, weight)) = read(member) else { continue };
        if name == b"*" {
            any = any.or(Some(weight).filter(|_| offer.any));
        } else if name.eq_ignore_ascii_case(b"identity") {
            as_it_is = as_it_is.or(Some(weight));
        } else if let Some(at) = offer.codings.iter().position(|coding| coding.is_named(name)) {
            weights[at] = weights[at].or(Some(weight));
        }
    }
    let mut best: Option<(Coding, Weight)> = None;
    for (coding, weight) in offer.codings.iter().zip(weights) {
        let weight = weight.or(any).unwrap_or(0);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((*coding, weight));
        }
    }
    // What is named beside it and weighs less is not what the caller would rather have.
    best.filter(|(_, weight)| *weight >= as_it_is.unwrap_or(0)).map(|(coding, _)| coding)
}

/// A name and its weight; `None` for what is neither.
fn read(member: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1000;
    for part in parts {
        let value = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="));
        weight = thousandths(value?)?;
    }
    Some((name, weight))
}

/// `0`, `0.5` or `1.000`: nothing above 1, and three digits after the point at most.
fn thousandths(text: &[u8]) -> Option<Weight> {
    let (whole, digits) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| Weight::from(byte - b'0'));
    let mut weight = digit(*whole)? * 1000;
    for (byte, unit) in digits.iter().zip([100, 10, 1]) {
        weight += digit(*byte)? * unit;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(fields: &[&str], offer: &Offer) -> Option<Coding> {
        choose(fields.iter().map(|field| field.as_bytes()), offer)
    }

    #[test]
    fn a_caller_gets_the_coding_that_it_weighs_most_and_of_equals_the_cheapest() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        for (field, native, aws) in [
            ("gzip", Some(Gzip), Some(Gzip)),
            ("GZip", Some(Gzip), Some(Gzip)),
            ("x-gzip", Some(Gzip), Some(Gzip)),
            ("deflate", Some(Deflate), Some(Deflate)),
            ("deflate, gzip", Some(Gzip), Some(Gzip)),
            ("gzip;q=0.5, deflate", Some(Deflate), Some(Deflate)),
            ("gzip, deflate, br, zstd", Some(Zstd), Some(Gzip)),
            ("br;q=1.0, zstd;q=0.9, *;q=0.1", Some(Brotli), None),
            ("br", Some(Brotli), None),
            ("*", Some(Zstd), None),
            ("*;q=0.5, gzip", Some(Gzip), Some(Gzip)),
            ("zstd;q=0, *", Some(Brotli), None),
            ("*;q=0", None, None),
            ("gzip;q=0", None, None),
            ("gzip;q=0.000", None, None),
            ("identity", None, None),
            ("identity, gzip", Some(Gzip), Some(Gzip)),
            ("identity;q=1, gzip;q=0.5", None, None),
            ("identity;q=0", None, None),
            ("identity;q=0, gzip;q=0.1", Some(Gzip), Some(Gzip)),
            ("identity;q=0.5, *;q=0.4", None, None),
            ("compress", None, None),
            ("", None, None),
            (" , ,gzip ; q=0.3 ,", Some(Gzip), Some(Gzip)),
            ("gzip;Q=0.3", Some(Gzip), Some(Gzip)),
        ] {
            assert_eq!(chosen(&[field], &Offer::NATIVE), native, "{field:?}");
            assert_eq!(chosen(&[field], &Offer::AWS), aws, "{field:?}");
        }
        assert_eq!(chosen(&[], &Offer::NATIVE), None);
        assert_eq!(chosen(&["identity", "gzip"], &Offer::AWS), Some(Gzip), "fields are one list");
    }

    #[test]
    fn what_is_no_weight_is_no_word_for_its_coding() {
        for wrong in ["gzip;q=2", "gzip;q=0.1234", "gzip;q=", "gzip;q=x", "gzip;q=.5", "gzip;a=b"] {
            assert_eq!(chosen(&[wrong], &Offer::NATIVE), None, "{wrong}");
        }
    }

    #[test]
    fn no_more_is_read_than_anybody_has_to_say() {
        let long = format!("{}gzip", "x,".repeat(NAMES_MAX));
        assert_eq!(chosen(&[&long], &Offer::NATIVE), None);
    }
}
