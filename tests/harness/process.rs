//! One real process of a world.

use crate::within;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const STOP_MAX: Duration = Duration::from_mins(1);

/// A child that is killed when this is dropped, and by the kernel when the test dies without dropping.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// A command for a process that ends with this test. `user`: as whom, when we are root.
pub(crate) fn command(program: &Path, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir("/");
    command
}

impl Process {
    /// # Panics
    /// Where the program cannot be started.
    pub(crate) fn start(name: &str, mut command: Command, logs: &Path) -> Self {
        let log = logs.join(format!("{name}.log"));
        let open = || {
            OpenOptions::new().create(true).append(true).open(&log).expect("a log can be written")
        };
        command.stdin(Stdio::null()).stdout(open()).stderr(open());
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The names of its threads, as far as the kernel keeps them.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        let names = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")));
        names.flatten().map(|name| name.trim_end().to_owned()).collect()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Fails the test with the last lines of the log when the process has ended.
    pub(crate) fn check(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("{} ended with {status}:\n{}", self.name, self.log_tail());
        }
    }

    /// SIGTERM, and a wait until it has drained and ended by itself, with success.
    ///
    /// # Panics
    /// Where it ends with an error.
    pub async fn terminate(self) {
        self.ask_to_end();
        self.ended().await;
    }

    /// SIGTERM, without waiting.
    pub fn ask_to_end(&self) {
        signal(self.id(), "TERM");
    }

    /// Until it has ended by itself, with success.
    ///
    /// # Panics
    /// Where it ends with an error.
    pub async fn ended(mut self) {
        let what = format!("the end of {}", self.name);
        let status = within(STOP_MAX, &what, async || {
            self.child.try_wait().expect("a child can be waited for")
        })
        .await;
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.log_tail());
    }

    /// SIGKILL: what a crash looks like from outside.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGKILL to it and to the processes that it started: a machine that is gone.
    pub(crate) fn kill_with_children(self) {
        let id = self.id();
        signal(id, "STOP"); // it starts no more
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        self.kill();
        for child in children.expect("children can be listed").split_whitespace() {
            // It may have ended by itself.
            Command::new("kill").args(["-KILL", child]).stderr(Stdio::null()).status().ok();
        }
    }

    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Its end, which a reader can take in: a line may hold a whole statement.
    fn log_tail(&self) -> String {
        const LINES: usize = 25;
        const LINE_CHARS_MAX: usize = 300;
        let text = self.log();
        let lines: Vec<String> =
            text.lines().map(|line| line.chars().take(LINE_CHARS_MAX).collect()).collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn end(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal by its name.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "process {process} cannot be sent {name}");
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.name, self.log_tail());
        }
        self.end();
    }
}

/// Makes an empty file readable by everyone: another user's process may write its own log elsewhere.
pub(crate) fn make_directory(path: &Path, owner: Option<&str>, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path).expect("a directory can be made");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .expect("its mode can be set");
    if let Some(owner) = owner {
        let status = Command::new("chown").arg(owner).arg(path).status().expect("chown runs");
        assert!(status.success(), "{} cannot be given to {owner}", path.display());
    }
}

/// `TOLLGATE_BIN`, or the one that was built beside this test.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TOLLGATE_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a program knows its file");
    // A test lies in target/…/deps, the benchmark one above it.
    let beside = test.ancestors().skip(1).take(2).map(|directory| directory.join("tollgate"));
    let built = beside.into_iter().find(|path| path.is_file()).unwrap_or_default();
    assert!(
        built.is_file(),
        "no tollgate beside {}; build it, or set TOLLGATE_BIN",
        test.display()
    );
    built
}

/// Whether a file with this name is in one of the directories of PATH.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| File::open(file).is_ok())
}
