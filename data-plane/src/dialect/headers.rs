//! Which fields each dialect keeps from backends and callers, or gives to them under another name, beside those of one
//! connection (RFC 9110 §7.6.1), which never pass. Data, from FEATURES C19 and C21; `response::headers` applies it.

/// What happens to the fields of a proxied call.
#[derive(Debug)]
pub(crate) struct Headers {
    /// Of a request: the backend does not get them.
    pub(crate) request_drops: Names,
    /// Of an answer: the caller gets them under this prefix.
    pub(crate) answer_remaps: Names,
    /// Of an answer: the caller does not get them.
    pub(crate) answer_drops: Names,
    /// How a backend of `HTTP_PROXY` is told where a call comes from.
    pub(crate) forwarded: Form,
}

/// Before the name of a field that was remapped.
pub(crate) const REMAPPED: &str = "x-amzn-remapped-";

/// The fields that tell where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `X-Forwarded-For`, `-Host` and `-Proto`.
    XForwarded,
    /// `Forwarded` (RFC 7239), in which the others are folded.
    Forwarded,
}

/// Names of fields, in lower case.
#[derive(Debug)]
pub(crate) struct Names {
    names: &'static [&'static str],
    /// A bit for each length that one of them has: most fields of most calls need no other look.
    lengths: u64,
}

pub(super) static NATIVE: Headers = Headers {
    request_drops: Names::NONE,
    answer_remaps: Names::NONE,
    answer_drops: Names::NONE,
    forwarded: Form::XForwarded,
};

/// `Host` is the backend's own, and `Transfer-Encoding` of each connection, in every dialect.
pub(super) static AWS_REST: Headers = Headers {
    request_drops: Names::of(&[
        "content-md5",
        "expect",
        "max-forwards",
        "proxy-authenticate",
        "server",
        "te",
        "trailer",
        "upgrade",
        "www-authenticate",
    ]),
    answer_remaps: Names::of(&[
        "authorization",
        "connection",
        "content-md5",
        "date",
        "max-forwards",
        "server",
        "user-agent",
        "www-authenticate",
    ]),
    answer_drops: Names::of(&[
        "expect",
        "host",
        "proxy-authenticate",
        "te",
        "transfer-encoding",
        "trailer",
        "upgrade",
    ]),
    forwarded: Form::XForwarded,
};

pub(super) static AWS_HTTP: Headers = Headers {
    request_drops: Names::NONE,
    answer_remaps: Names::NONE,
    answer_drops: Names::NONE,
    forwarded: Form::Forwarded,
};

impl Names {
    const NONE: Self = Self::of(&[]);

    const fn of(names: &'static [&'static str]) -> Self {
        let (mut lengths, mut at) = (0, 0);
        while at < names.len() {
            assert!(names[at].len() < 64, "a name as long as that has no bit");
            lengths |= 1 << names[at].len();
            at += 1;
        }
        Self { names, lengths }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The listed name, where this is one.
    pub(crate) fn find(&self, name: &str) -> Option<&'static str> {
        let may = name.len() < 64 && self.lengths >> name.len() & 1 == 1;
        if !may {
            return None;
        }
        self.names.iter().find(|listed| **listed == name).copied()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn each_listed_name_is_found_and_no_other() {
        for table in [&NATIVE, &AWS_REST, &AWS_HTTP] {
            for names in [&table.request_drops, &table.answer_remaps, &table.answer_drops] {
                for name in names.names {
                    assert_eq!(names.find(name), Some(*name));
                    assert_eq!(HeaderName::from_bytes(name.as_bytes()).unwrap().as_str(), *name);
                }
                for other in ["", "x", "accept", "content-mdx", &"x".repeat(64), &"x".repeat(200)] {
                    assert_eq!(names.find(other), None);
                }
            }
        }
    }
}
