//! The chunks of one snapshot, until it is whole.

use proto::config::v1::{Resource, Signed, SnapshotChunk};

/// A whole snapshot of a cell never takes more memory than this.
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// What has come so far of a snapshot, from one source, in order.
#[derive(Default)]
pub(super) struct Assembly {
    version: u64,
    next: u32,
    bytes: usize,
    resources: Vec<Resource>,
    signed: Vec<Signed>,
}

/// A whole snapshot, with the messages that brought it.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) version: u64,
    pub(super) resources: Vec<Resource>,
    pub(super) signed: Vec<Signed>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Broken {
    #[error("chunk {found} of a snapshot came where chunk {expected} was due")]
    Order { expected: u32, found: u32 },
    #[error("a snapshot of version {expected} goes on with version {found}")]
    Version { expected: u64, found: u64 },
    #[error("a snapshot has more than {SNAPSHOT_BYTES_MAX} bytes")]
    Size,
}

impl Assembly {
    /// Takes the next chunk. A first chunk begins a new snapshot, whatever was there. After an error nothing
    /// is there.
    pub(super) fn push(
        &mut self,
        version: u64,
        chunk: SnapshotChunk,
        signed: Signed,
    ) -> Result<Option<Whole>, Broken> {
        let mut held = std::mem::take(self);
        if chunk.index == 0 {
            held = Self { version, ..Self::default() };
        }
        if chunk.index != held.next {
            return Err(Broken::Order { expected: held.next, found: chunk.index });
        }
        if version != held.version {
            return Err(Broken::Version { expected: held.version, found: version });
        }
        held.bytes += signed.update.len();
        if held.bytes > SNAPSHOT_BYTES_MAX {
            return Err(Broken::Size);
        }
        held.next += 1;
        held.resources.extend(chunk.resources);
        held.signed.push(signed);
        if chunk.last {
            let Self { resources, signed, .. } = held;
            return Ok(Some(Whole { version, resources, signed }));
        }
        *self = held;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(
        assembly: &mut Assembly,
        version: u64,
        index: u32,
        last: bool,
    ) -> Result<Option<Whole>, Broken> {
        let chunk = SnapshotChunk { index, last, resources: vec![Resource::default()] };
        assembly.push(version, chunk, Signed::default())
    }

    #[test]
    fn a_snapshot_counts_when_its_last_chunk_is_here() {
        let mut assembly = Assembly::default();
        assert!(push(&mut assembly, 7, 0, false).unwrap().is_none());
        assert!(push(&mut assembly, 7, 1, false).unwrap().is_none());
        let whole = push(&mut assembly, 7, 2, true).unwrap().unwrap();
        assert_eq!((whole.version, whole.resources.len(), whole.signed.len()), (7, 3, 3));
        assert!(push(&mut assembly, 8, 0, true).unwrap().is_some());
    }

    #[test]
    fn a_missing_repeated_or_foreign_chunk_breaks_it() {
        for (version, index) in [(7, 2), (8, 1)] {
            let mut assembly = Assembly::default();
            push(&mut assembly, 7, 0, false).unwrap();
            assert!(push(&mut assembly, version, index, false).is_err());
            assert!(push(&mut assembly, 7, 1, false).is_err(), "nothing goes on after an error");
        }
        let mut assembly = Assembly::default();
        push(&mut assembly, 7, 0, false).unwrap();
        push(&mut assembly, 7, 1, false).unwrap();
        assert_eq!(
            push(&mut assembly, 7, 1, true).unwrap_err(),
            Broken::Order { expected: 2, found: 1 }
        );
    }

    #[test]
    fn a_first_chunk_begins_anew() {
        let mut assembly = Assembly::default();
        push(&mut assembly, 7, 0, false).unwrap();
        push(&mut assembly, 9, 0, false).unwrap();
        let whole = push(&mut assembly, 9, 1, true).unwrap().unwrap();
        assert_eq!((whole.version, whole.resources.len()), (9, 2));
    }
}
