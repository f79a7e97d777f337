//! Which of a stage's two deployments a call goes to.

use std::{cell::Cell, sync::Arc};

use http::{HeaderMap, Uri, header, request::Parts};
use sha2::{Digest, Sha256};

use crate::{
    policies::api_key,
    snapshot::{
        Snapshot,
        served::{Canary, Stage, Stickiness},
    },
};

/// A value that is longer tells callers apart by so much of it.
const VALUE_BYTES_MAX: usize = 4096;

/// Chooses for one call, which is drawn once, however often it is asked. Nothing is shared with other calls.
pub(super) struct Chooser<'a> {
    snapshot: &'a Snapshot,
    headers: &'a HeaderMap,
    uri: &'a Uri,
    drawn: Cell<Option<f64>>,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, head: &'a Parts) -> Self {
        Self { snapshot, headers: &head.headers, uri: &head.uri, drawn: Cell::new(None) }
    }

    /// The stage as this call has it: itself, or with its canary in the place of its deployment.
    pub(super) fn of<'s>(&self, stage: &'s Arc<Stage>) -> &'s Arc<Stage> {
        match &stage.canary {
            Some(canary) if self.percentile(stage, canary) < canary.percent_traffic => {
                &canary.stage
            }
            _ => stage,
        }
    }

    /// Where the call stands among all, from 0 to below 100.
    fn percentile(&self, stage: &Stage, canary: &Canary) -> f64 {
        let value = match &canary.stickiness {
            Stickiness::None => None,
            Stickiness::ApiKey => self.key(stage, |value| percentile(stage, value)),
            Stickiness::Header(name) => {
                let value = self.headers.get(name);
                value.map(|value| percentile(stage, value.as_bytes()))
            }
            Stickiness::Cookie(name) => {
                cookie(self.headers, name.as_bytes()).map(|value| percentile(stage, value))
            }
        };
        value.unwrap_or_else(|| {
            let drawn = self.drawn.get().unwrap_or_else(|| rand::random::<f64>() * 100.0);
            self.drawn.set(Some(drawn));
            drawn
        })
    }

    /// Of the key that the call presents: its id where there is such a key, which its rotation does not change.
    fn key<T>(&self, stage: &Stage, of: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let locations = &stage.deployment.as_ref()?.key_locations;
        let value = api_key::peek(locations, self.headers, self.uri)?;
        let tenant = self.snapshot.tenant(&stage.tenant_id)?;
        let digest = proto::digest::api_key(&tenant.key_pepper, &value);
        let known = self.snapshot.api_key(&tenant.id, digest);
        Some(of(known.map_or(&digest[..], |key| key.id.as_bytes())))
    }
}

/// The same for a value at every node, and at every time: as a canary's part grows, nobody leaves it.
fn percentile(stage: &Stage, value: &[u8]) -> f64 {
    let mut hash = Sha256::new();
    hash.update(stage.api_id.as_bytes());
    hash.update([b'/']);
    hash.update(stage.name.as_bytes());
    hash.update([0]);
    hash.update(&value[..value.len().min(VALUE_BYTES_MAX)]);
    let digest = hash.finalize();
    let [a, b, c, d, ..] = digest.as_slice() else { return 0.0 };
    f64::from(u32::from_be_bytes([*a, *b, *c, *d])) / (f64::from(u32::MAX) + 1.0) * 100.0
}

/// The first cookie of this name (RFC 6265, 5.4), whichever field of the name `Cookie` has it.
fn cookie<'h>(headers: &'h HeaderMap, name: &[u8]) -> Option<&'h [u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
        let (key, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        (key.trim_ascii() == name).then(|| value[1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_the_first_of_its_name_in_any_field() {
        let mut headers = HeaderMap::new();
        for field in ["a=1; sid= x=y ;b", "sid=2", "other"] {
            headers.append(header::COOKIE, field.parse().unwrap());
        }
        for (name, value) in
            [("sid", Some(&b"x=y"[..])), ("a", Some(b"1")), ("b", None), ("x", None)]
        {
            assert_eq!(cookie(&headers, name.as_bytes()), value, "{name}");
        }
    }
}
