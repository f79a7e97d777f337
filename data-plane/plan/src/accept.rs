//! `Accept` (RFC 9110 §12.5.1): which of some media types a caller likes best.

/// `type/subtype` of a media type, without its parameters.
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The position of the media type that `accept`, the field's values in their order, likes best; of those that are liked the
/// same the first. `None` where it takes none of them. Without a value every type is as good.
pub fn best<'a>(
    accept: impl IntoIterator<Item = &'a str>,
    offered: impl IntoIterator<Item = &'a str>,
) -> Option<usize> {
    let ranges: Vec<Range<'_>> =
        accept.into_iter().flat_map(|value| value.split(',')).filter_map(Range::parse).collect();
    let mut best: Option<(usize, u16)> = None;
    for (index, offer) in offered.into_iter().enumerate() {
        let quality = if ranges.is_empty() { 1000 } else { quality(&ranges, essence(offer)) };
        if quality > best.map_or(0, |(_, quality)| quality) {
            best = Some((index, quality));
        }
    }
    best.map(|(index, _)| index)
}

struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let (kind, subtype) = parts.next()?.trim().split_once('/')?;
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        let quality = match weight {
            Some(weight) => thousandths(weight)?,
            None => 1000,
        };
        Some(Self { kind, subtype, quality })
    }

    /// How exactly it names the type; `None` where it does not.
    fn names(&self, kind: &str, subtype: &str) -> Option<u8> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(1),
            (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => {
                Some(2)
            }
            _ => None,
        }
    }
}

/// Of the range that names the type most exactly.
fn quality(ranges: &[Range<'_>], essence: &str) -> u16 {
    let Some((kind, subtype)) = essence.split_once('/') else { return 0 };
    let named =
        ranges.iter().filter_map(|range| Some((range.names(kind, subtype)?, range.quality)));
    named
        .max_by_key(|(exactness, quality)| (*exactness, *quality))
        .map_or(0, |(_, quality)| quality)
}

/// A weight from `0` to `1` with up to three decimals.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_that_is_liked_best_is_taken() {
        let offered = ["application/json", "text/plain;charset=utf-8", "application/xml"];
        for (accept, index) in [
            (vec![], Some(0)),
            (vec!["*/*"], Some(0)),
            (vec!["text/plain"], Some(1)),
            (vec!["TEXT/*"], Some(1)),
            (vec!["application/json;q=0.5, application/xml"], Some(2)),
            (vec!["application/json;q=0.5", "text/*;q=0.9, application/xml; q=0.1"], Some(1)),
            (vec!["*/*, application/json;q=0"], Some(1)),
            (vec!["text/plain;q=0.001, application/*;q=0"], Some(1)),
            (vec!["image/png"], None),
            (vec!["image/png, */*;q=0.1"], Some(0)),
            (vec!["*/*;q=0"], None),
        ] {
            assert_eq!(best(accept.iter().copied(), offered), index, "{accept:?}");
        }
        assert_eq!(best(["nonsense, /, a/b;q=9"], offered), Some(0), "no range: any type will do");
        assert_eq!(best(["*/*"], [] as [&str; 0]), None);
    }

    #[test]
    fn a_weight_has_three_decimals_at_most() {
        for (text, value) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("1.000", Some(1000)),
            ("0.5", Some(500)),
            ("0.", Some(0)),
        ] {
            assert_eq!(thousandths(text), value, "{text}");
        }
        for bad in ["", "2", "1.1", "0.0001", "-1", "0.x", ".5"] {
            assert_eq!(thousandths(bad), None, "{bad}");
        }
    }
}
