//! The last good configuration of a cell on this node's disk: with it the node serves while everything else is
//! down.
//!
//! A file holds the control plane's signed messages as they came: the chunks of a snapshot, then deltas, appended.
//! Each is encrypted with a key derived from the node's own private key, and bound to its place in its file.
//! A new snapshot begins a new file; the one before is kept as the previous good file.
//!
//! What is read is the longest beginning that is whole, signed and without gaps. A file whose snapshot itself is
//! damaged is no use, and the previous one is taken.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use prost::Message;
use proto::config::UPDATE_BYTES_MAX;
use proto::config::v1::{Signed, update};
use zeroize::Zeroizing;

use super::assembly::Assembly;
use super::resources::{Applied, Resources};
use super::signature::Verifier;
use crate::disk::{self, Fresh};

/// What every such file begins with; the last byte is the format's version.
const MAGIC: &[u8; 8] = b"tollgcf\x01";
const SALT_LEN: usize = 32;
const HEADER_LEN: usize = MAGIC.len() + SALT_LEN;
/// A message, its signature and what encryption adds.
const RECORD_BYTES_MAX: usize = UPDATE_BYTES_MAX + 1024;
/// Once the deltas make a file this many times as long as its snapshot, a fresh snapshot is due …
const GROWTH_MAX: u64 = 4;
/// … but not for a shorter file than this.
const FRESH_BYTES_MIN: u64 = 1 << 20;

/// The secret from which every file's key is derived.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// One cell's files.
pub(crate) struct LastGood {
    cell: String,
    path: PathBuf,
    previous: PathBuf,
    secret: Secret,
    /// None where appending would follow nothing whole.
    open: Option<Open>,
    /// There was no previous file to go back to.
    alone: bool,
}

/// The file that grows.
struct Open {
    file: File,
    key: LessSafeKey,
    records: u64,
    bytes: u64,
    snapshot_bytes: u64,
}

/// What was found at start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No file: this node is new to the cell.
    Nothing,
    /// All of the newest file.
    Whole,
    /// Less than was written: an alarm. A fresh snapshot is due.
    Damaged,
}

/// How far one file could be read.
pub(crate) struct Read {
    pub(crate) whole: bool,
    open: Option<Open>,
}

/// Takes a cell's files away.
pub(super) fn remove(dir: &Path, cell: &str) -> io::Result<()> {
    let LastGood { path, previous, .. } = LastGood::new(dir, cell, Secret::default());
    for path in [path, previous] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl LastGood {
    /// The files of `cell` in `dir`. Nothing is read yet.
    pub(crate) fn new(dir: &Path, cell: &str, secret: Secret) -> Self {
        let path = dir.join(format!("{cell}.config"));
        let previous = dir.join(format!("{cell}.config.previous"));
        Self { cell: cell.to_owned(), path, previous, secret, open: None, alone: false }
    }

    /// Puts what is on the disk into `resources`, which must hold nothing of this cell.
    pub(super) fn load(&mut self, resources: &mut Resources, verifier: &Verifier) -> Found {
        let (newest, previous) = (self.content(&self.path), self.content(&self.previous));
        if newest.is_none() && previous.is_none() {
            return Found::Nothing;
        }
        if let Some(read) = newest.and_then(|newest| self.read(&newest, resources, verifier)) {
            if read.whole {
                self.open = read.open;
                self.alone = previous.is_none();
                return Found::Whole;
            }
            // The torn end is not appended to: the next snapshot begins a new file.
            tracing::error!(
                cell = self.cell,
                version = resources.version(&self.cell),
                "the last good config is damaged at its end; serving what is before that"
            );
            return Found::Damaged;
        }
        let held = previous.and_then(|previous| self.read(&previous, resources, verifier));
        tracing::error!(
            cell = self.cell,
            version = resources.version(&self.cell),
            found = held.is_some(),
            "the last good config is damaged; serving the previous one, if there is one"
        );
        Found::Damaged
    }

    fn content(&self, path: &Path) -> Option<Vec<u8>> {
        disk::read(path).unwrap_or_else(|error| {
            tracing::error!(cell = self.cell, %error, "the last good config cannot be read");
            Some(Vec::new())
        })
    }

    /// Begins a new file with a snapshot. The file that was newest becomes the previous one, if it was good.
    pub(super) fn begin(&mut self, chunks: &[Signed]) -> io::Result<()> {
        let good = self.open.take().is_some();
        let (key, content) = self.sealed(chunks)?;
        let mut fresh = Fresh::create(&self.path)?;
        fresh.file.write_all(&content)?;
        if good {
            disk::keep_as(&self.path, &self.previous)?;
        }
        self.alone = false;
        let file = fresh.publish()?;
        let bytes = content.len() as u64;
        let records = chunks.len() as u64;
        self.open = Some(Open { file, key, records, bytes, snapshot_bytes: bytes });
        Ok(())
    }

    /// A file of these messages, and its key.
    pub(crate) fn sealed(&self, messages: &[Signed]) -> io::Result<(LessSafeKey, Vec<u8>)> {
        let mut salt = [0; SALT_LEN];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| io::Error::other("no randomness"))?;
        let key = self.key(&salt);
        let mut content = [MAGIC.as_slice(), &salt].concat();
        for (index, message) in (0..).zip(messages) {
            seal(&key, index, message, &mut content)?;
        }
        Ok((key, content))
    }

    /// Adds deltas that follow what the file holds. After an error nothing more is added before a snapshot
    /// begins a new file.
    pub(super) fn append(&mut self, deltas: &[Signed]) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let mut content = Vec::new();
        for delta in deltas {
            seal(&open.key, open.records, delta, &mut content)?;
            open.records += 1;
        }
        open.file.write_all(&content)?;
        open.file.sync_data()?;
        open.bytes += content.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// Whether a snapshot should begin a new file: at a start also where this one has none before it.
    pub(super) fn wants_snapshot(&self) -> bool {
        let open = self.open.as_ref().filter(|_| !self.alone);
        open.is_none_or(|open| open.bytes > (open.snapshot_bytes * GROWTH_MAX).max(FRESH_BYTES_MIN))
    }

    /// Applies the longest good beginning of a file. None where not even its snapshot is good.
    pub(crate) fn read(
        &self,
        content: &[u8],
        resources: &mut Resources,
        verifier: &Verifier,
    ) -> Option<Read> {
        let (header, mut rest) = content.split_at_checked(HEADER_LEN)?;
        let salt = header.strip_prefix(MAGIC.as_slice())?;
        let key = self.key(salt);
        let mut assembly = Assembly::default();
        let mut snapshot_bytes = None;
        let mut records = 0;
        while !rest.is_empty() {
            let step = next(&key, records, rest).and_then(|(signed, after)| {
                rest = after;
                let update =
                    verifier.open(&signed).ok().filter(|update| update.cell == self.cell)?;
                match (update.kind?, snapshot_bytes) {
                    (update::Kind::Snapshot(chunk), None) => {
                        let Some(whole) = assembly.push(update.version, chunk, signed).ok()? else {
                            return Some(());
                        };
                        resources.replace(&self.cell, whole.version, whole.resources).ok()?;
                        snapshot_bytes = Some((content.len() - rest.len()) as u64);
                    }
                    (update::Kind::Delta(delta), Some(_)) => {
                        match resources.apply(&self.cell, update.version, delta).ok()? {
                            Applied::Changed(_) => {}
                            Applied::Duplicate => return None, // none was ever appended
                        }
                    }
                    _ => return None,
                }
                Some(())
            });
            if step.is_none() {
                snapshot_bytes?;
                return Some(Read { whole: false, open: None });
            }
            records += 1;
        }
        let snapshot_bytes = snapshot_bytes?;
        let bytes = content.len() as u64;
        let file = OpenOptions::new().append(true).open(&self.path).ok();
        let open = file.map(|file| Open { file, key, records, bytes, snapshot_bytes });
        Some(Read { whole: true, open })
    }

    fn key(&self, salt: &[u8]) -> LessSafeKey {
        let info = [b"tollgate last good config v1 ".as_slice(), self.cell.as_bytes()];
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.secret);
        let key = key.expand(&info, &AES_256_GCM).expect("a key is far below HKDF's length limit");
        LessSafeKey::new(UnboundKey::from(key))
    }
}

/// Length ‖ nonce ‖ ciphertext ‖ tag. The place in the file is authenticated: no record can be left out,
/// repeated or moved.
fn seal(key: &LessSafeKey, index: u64, signed: &Signed, out: &mut Vec<u8>) -> io::Result<()> {
    let mut nonce = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| io::Error::other("no randomness"))?;
    let mut message = signed.encode_to_vec();
    let aad = Aad::from(index.to_le_bytes());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut message)
        .map_err(|_| io::Error::other("a message is too long to encrypt"))?;
    let length = u32::try_from(NONCE_LEN + message.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&message);
    Ok(())
}

/// The record at the beginning of `bytes`, and what follows it.
fn next<'a>(key: &LessSafeKey, index: u64, bytes: &'a [u8]) -> Option<(Signed, &'a [u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > RECORD_BYTES_MAX {
        return None;
    }
    let (record, rest) = rest.split_at_checked(length)?;
    let (nonce, message) = record.split_first_chunk::<NONCE_LEN>()?;
    let mut message = message.to_vec();
    let aad = Aad::from(index.to_le_bytes());
    let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut message).ok()?;
    Some((Signed::decode(&*opened).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::signature::tests::Signer;
    use super::*;

    /// A node's directory, removed at the end.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("tollgate-{}", uuid::Uuid::new_v4()));
            disk::private_dir(&path).unwrap();
            Self(path)
        }

        fn files(&self) -> LastGood {
            LastGood::new(&self.0, "default", Zeroizing::new(b"the node's own key".to_vec()))
        }

        fn newest(&self) -> PathBuf {
            self.0.join("default.config")
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn load(dir: &Dir, signer: &Signer) -> (Found, u64, Resources) {
        let mut resources = Resources::default();
        let found = dir.files().load(&mut resources, &signer.verifier());
        (found, resources.version("default"), resources)
    }

    /// Version 3 as the previous file; versions 5, in two chunks, to 7 as the newest.
    fn written(signer: &Signer) -> Dir {
        let dir = Dir::new();
        let mut files = dir.files();
        files.begin(&[signer.chunk(3, 0, true, "old")]).unwrap();
        files.begin(&[signer.chunk(5, 0, false, "a"), signer.chunk(5, 1, true, "b")]).unwrap();
        files.append(&[signer.delta(6, "c")]).unwrap();
        files.append(&[signer.delta(7, "d")]).unwrap();
        dir
    }

    #[test]
    fn what_was_written_is_there_after_a_restart_and_can_be_gone_on_from() {
        let signer = Signer::new();
        let dir = written(&signer);
        let mut resources = Resources::default();
        let mut files = dir.files();
        assert_eq!(files.load(&mut resources, &signer.verifier()), Found::Whole);
        assert_eq!(resources.version("default"), 7);
        assert!(["a", "b", "c", "d"].iter().all(|id| resources.tenant(id).is_some()));

        files.append(&[signer.delta(8, "e")]).unwrap();
        let (found, version, resources) = load(&dir, &signer);
        assert_eq!((found, version), (Found::Whole, 8));
        assert!(resources.tenant("e").is_some());
    }

    #[test]
    fn a_new_node_finds_nothing() {
        let (found, version, _) = load(&Dir::new(), &Signer::new());
        assert_eq!((found, version), (Found::Nothing, 0));
    }

    #[test]
    fn only_the_node_may_read_the_file_and_it_shows_nothing() {
        let signer = Signer::new();
        let dir = written(&signer);
        let mode = fs::metadata(dir.newest()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let content = fs::read(dir.newest()).unwrap();
        assert!(!content.windows(7).any(|window| window == b"default"));

        let mut other =
            LastGood::new(&dir.0, "default", Zeroizing::new(b"another node's key".to_vec()));
        let mut resources = Resources::default();
        assert_eq!(other.load(&mut resources, &signer.verifier()), Found::Damaged);
        assert_eq!(resources.version("default"), 0);
    }

    #[test]
    fn with_a_damaged_snapshot_the_previous_file_is_used() {
        let signer = Signer::new();
        let dir = written(&signer);
        let mut content = fs::read(dir.newest()).unwrap();
        content[HEADER_LEN + 40] ^= 1;
        fs::write(dir.newest(), content).unwrap();

        let (found, version, resources) = load(&dir, &signer);

        assert_eq!((found, version), (Found::Damaged, 3));
        assert!(resources.tenant("old").is_some() && resources.tenant("a").is_none());
    }

    #[test]
    fn every_cut_and_every_flipped_byte_leaves_a_good_version_and_is_noticed() {
        let signer = Signer::new();
        let dir = written(&signer);
        let content = fs::read(dir.newest()).unwrap();
        let mut record_ends = vec![HEADER_LEN];
        while let Some(length) =
            content.get(record_ends[record_ends.len() - 1]..).and_then(|rest| rest.first_chunk())
        {
            record_ends.push(
                record_ends[record_ends.len() - 1] + 4 + u32::from_le_bytes(*length) as usize,
            );
        }
        assert_eq!(record_ends.last(), Some(&content.len()));
        // How many records are whole before this byte, and the version that they make.
        let version = |at: usize| match record_ends.iter().filter(|end| **end <= at).count() {
            0..=2 => 3,
            3 => 5,
            4 => 6,
            _ => 7,
        };
        for at in 0..content.len() {
            fs::write(dir.newest(), &content[..at]).unwrap();
            let (found, held, _) = load(&dir, &signer);
            assert_eq!(held, version(at), "cut at {at}");
            let at_record = record_ends[2..].contains(&at);
            assert_eq!(found, if at_record { Found::Whole } else { Found::Damaged }, "cut at {at}");

            let mut flipped = content.clone();
            flipped[at] ^= 0x20;
            fs::write(dir.newest(), flipped).unwrap();
            let (found, held, _) = load(&dir, &signer);
            assert_eq!((found, held), (Found::Damaged, version(at)), "flipped at {at}");
        }
    }

    #[test]
    fn records_cannot_be_moved_left_out_or_repeated() {
        let signer = Signer::new();
        let dir = written(&signer);
        let content = fs::read(dir.newest()).unwrap();
        let mut records = Vec::new();
        let mut rest = &content[HEADER_LEN..];
        while let Some(length) = rest.first_chunk() {
            let (record, after) = rest.split_at(4 + u32::from_le_bytes(*length) as usize);
            records.push(record);
            rest = after;
        }
        for (order, version) in [
            (vec![0, 1, 3, 2], 5),
            (vec![0, 1, 3], 5),
            (vec![0, 1, 2, 2, 3], 6),
            (vec![1, 0, 2, 3], 3),
            (vec![0, 2, 3], 3),
        ] {
            let all: Vec<&[u8]> = order.iter().map(|index| records[*index]).collect();
            fs::write(dir.newest(), [&content[..HEADER_LEN], &all.concat()].concat()).unwrap();
            let (found, held, _) = load(&dir, &signer);
            assert_eq!((found, held), (Found::Damaged, version), "{order:?}");
        }
    }

    #[test]
    fn what_another_control_plane_signed_is_not_loaded() {
        let signer = Signer::new();
        let dir = written(&signer);
        let (found, version, _) = load(&dir, &Signer::new());
        assert_eq!((found, version), (Found::Damaged, 0));
    }

    #[test]
    fn a_damaged_file_never_becomes_the_previous_one() {
        let signer = Signer::new();
        let dir = written(&signer);
        let mut content = fs::read(dir.newest()).unwrap();
        content[HEADER_LEN + 40] ^= 1;
        fs::write(dir.newest(), content).unwrap();
        let mut files = dir.files();
        files.load(&mut Resources::default(), &signer.verifier());
        assert!(files.wants_snapshot());
        files.begin(&[signer.chunk(9, 0, true, "new")]).unwrap();
        assert!(!files.wants_snapshot());

        assert_eq!(load(&dir, &signer).1, 9);
        fs::write(dir.newest(), b"").unwrap();
        assert_eq!(load(&dir, &signer).1, 3);
    }

    #[test]
    fn a_file_that_none_came_before_gets_a_successor_at_the_next_start() {
        let signer = Signer::new();
        let dir = Dir::new();
        let mut files = dir.files();
        files.begin(&[signer.chunk(1, 0, true, "a")]).unwrap();
        assert!(!files.wants_snapshot());

        let mut files = dir.files();
        assert_eq!(files.load(&mut Resources::default(), &signer.verifier()), Found::Whole);
        assert!(files.wants_snapshot());
        files.append(&[signer.delta(2, "b")]).unwrap();
        files.begin(&[signer.chunk(3, 0, true, "c")]).unwrap();
        assert!(!files.wants_snapshot());

        fs::write(dir.newest(), b"").unwrap();
        let mut files = dir.files();
        let mut resources = Resources::default();
        assert_eq!(files.load(&mut resources, &signer.verifier()), Found::Damaged);
        assert_eq!(resources.version("default"), 2);
    }

    #[test]
    fn a_file_that_has_grown_far_past_its_snapshot_asks_for_a_fresh_one() {
        let signer = Signer::new();
        let dir = Dir::new();
        let mut files = dir.files();
        files.begin(&[signer.chunk(1, 0, true, "a")]).unwrap();
        let large = "x".repeat(100_000);
        for version in 2..=12 {
            assert!(!files.wants_snapshot(), "at version {version}");
            files.append(&[signer.delta(version, &large)]).unwrap();
        }
        assert!(files.wants_snapshot());
    }
}
