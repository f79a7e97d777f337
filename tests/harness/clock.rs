//! A clock that a story sets for one process while it runs: Debian's libfaketime, which answers for the C library. Only
//! the time of day jumps, as when it is set on a machine; the monotonic clock goes on.

use std::path::{Path, PathBuf};

/// The clock of whatever process is started with these [`Clock::settings`].
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// # Panics
    /// Where libfaketime is not installed.
    pub fn new(directory: &Path, name: &str) -> Self {
        let clock = Self { library: library(), file: directory.join(format!("{name}.time")) };
        clock.jump("+0");
        clock
    }

    /// Sets the clock to the machine's and so much: `+1h`, `-1h`, `+0`.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn jump(&self, offset: &str) {
        // Whole or not at all: it is read at each look at the clock.
        let partial = self.file.with_extension("partial");
        std::fs::write(&partial, offset).expect("the world's directory can be written");
        std::fs::rename(partial, &self.file).expect("the world's directory can be written");
    }

    /// What makes a process see this clock.
    pub fn settings(&self) -> [(&'static str, String); 4] {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file)),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

fn library() -> PathBuf {
    let mut places = std::fs::read_dir("/usr/lib").expect("there are libraries").flatten();
    let found = places.find_map(|place| {
        let library = place.path().join("faketime/libfaketimeMT.so.1");
        library.is_file().then_some(library)
    });
    found.expect("this story needs Debian's libfaketime; tests/run installs it")
}
