//! The machine under the benchmark: who has which core, what was spent, what is installed.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The cores for whoever is measured and for whoever loads it, so that neither takes the other's time.
const CORES_MIN: usize = 4;

/// Programs beside the gateway, and the Debian packages that hold them.
const TOOLS: [(&str, &str); 8] = [
    ("setpriv", "util-linux"),
    ("renice", "bsdutils"),
    ("taskset", "util-linux"),
    ("chrt", "util-linux"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
];

/// Fails where the machine has too few cores, or some program is missing, and says what to install.
pub(crate) fn check() -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(
        cores >= CORES_MIN,
        "this machine has {cores} cores; {CORES_MIN} are needed to keep gateway and load apart"
    );
    let is_in_path = |tool: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
    };
    let missing: Vec<_> = TOOLS.iter().filter(|(tool, _)| !is_in_path(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let tools: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    bail!(
        "not on the PATH: {}; install them by: apt-get install {}",
        tools.join(", "),
        packages.join(" ")
    );
}

/// Gives every thread of a process to these cores, as `taskset` writes them; a node's data threads to one each, in turn.
pub(crate) fn pin(process: u32, cores: &str) -> Result<()> {
    taskset(&["-a"], cores, &process.to_string())?;
    let Some((first, _)) = cores.split_once('-') else { return Ok(()) };
    let first: u32 = first.parse().context("a range of cores")?;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?;
        let name = std::fs::read_to_string(task.path().join("comm"))?;
        if let Some(index) = name.trim_end().strip_prefix("data-") {
            let core = first + index.parse::<u32>().context("a data thread's number")?;
            taskset(&[], &core.to_string(), &task.file_name().to_string_lossy())?;
        }
    }
    Ok(())
}

/// Gives this thread to these cores.
pub(crate) fn pin_this_thread(cores: &str) -> Result<()> {
    let this = std::fs::read_link("/proc/thread-self")?;
    let thread = this.file_name().context("a thread has a number")?;
    taskset(&[], cores, &thread.to_string_lossy())
}

fn taskset(options: &[&str], cores: &str, task: &str) -> Result<()> {
    let pinned = Command::new("taskset").args(options).args(["-p", "-c", cores, task]).output()?;
    ensure!(pinned.status.success(), "task {task} could not be pinned to the cores {cores}");
    Ok(())
}

/// Lets a process go before all others of its cores: a backend must not wait for those who make the load.
pub(crate) fn go_first(process: u32) -> Result<()> {
    let set = Command::new("chrt").args(["-a", "-f", "-p", "1", &process.to_string()]).output()?;
    ensure!(set.status.success(), "process {process} could not be put first; be root");
    Ok(())
}

/// Gives this process, and what it starts from here on, the time that others want too: where latency is the figure, it must
/// not be theirs.
pub(crate) fn take_precedence() -> Result<()> {
    let this = std::process::id().to_string();
    let set = Command::new("renice").args(["-n", "-20", "-p", &this]).output()?;
    ensure!(set.status.success(), "the benchmark could not be given precedence; be root");
    // Where the kernel shares its time out by session first, that alone would do nothing.
    let session = std::path::Path::new("/proc/self/autogroup");
    if session.exists() {
        std::fs::write(session, "-20").context("the session could not be given precedence")?;
    }
    Ok(())
}

/// Time on a CPU of every thread of these processes, in nanoseconds.
pub(crate) fn cpu_nanos(processes: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for process in processes {
        for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = schedstat.split_whitespace().next().context("an empty schedstat")?;
            sum += on_cpu.parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// Memory of these processes, with their shares of what they share, in KiB.
pub(crate) fn memory_kib(processes: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for process in processes {
        let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = pss.and_then(|pss| pss.trim().strip_suffix("kB")).context("no Pss")?;
        sum += kib.trim().parse::<u64>()?;
    }
    Ok(sum)
}
