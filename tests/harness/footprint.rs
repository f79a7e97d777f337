//! What a node takes of its machine, and what it tells of its work.

use std::io::{Read, Seek, SeekFrom};

use serde_json::Value;

use crate::World;
use crate::process::Process;

impl Process {
    /// Its resident memory, in bytes.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn memory(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most of that since [`Process::forget_peak_memory`].
    ///
    /// # Panics
    /// Where it is gone.
    pub fn peak_memory(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// # Panics
    /// Where it is gone.
    pub fn forget_peak_memory(&self) {
        // proc(5): 5 sets the peak to what is resident now.
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5").expect("it runs");
    }

    /// How many files and sockets it has open.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("it runs").count()
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of it");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    }
}

impl World {
    /// What the first node shows of a family of its metrics: the sum of all its series.
    ///
    /// # Panics
    /// Where it shows none.
    pub async fn metric(&self, family: &str) -> u64 {
        let page = self.node_admin().get("/metrics").await.expect(200).text();
        let samples = page.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let is_of_family = name.split('{').next() == Some(family);
            is_of_family.then(|| value.parse::<u64>().expect("a whole number"))
        });
        let samples: Vec<_> = samples.collect();
        assert!(!samples.is_empty(), "{family} is not shown: {page}");
        samples.into_iter().sum()
    }

    /// The first node's access log, from this byte on of what it wrote, which goes on to what is there now.
    ///
    /// # Panics
    /// Where a line of it is not JSON.
    pub fn access_log(&self, from: &mut usize) -> Vec<Value> {
        let log = std::fs::File::open(self.logs().join("node0.log"));
        let mut new = Vec::new();
        let read = log.and_then(|mut log| {
            log.seek(SeekFrom::Start(*from as u64))?;
            log.read_to_end(&mut new)
        });
        read.expect("the log can be read");
        // The last line may not be whole yet.
        new.truncate(new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        *from += new.len();
        let lines = new.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines = lines.map(|line| serde_json::from_slice::<Value>(line).expect("JSON"));
        lines.filter(|line| line.get("bytes_out").is_some()).collect()
    }
}
