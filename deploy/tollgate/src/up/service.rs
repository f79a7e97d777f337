//! One supervised child: started, restarted when it crashes, stopped by its signal.

use super::home::Home;
use super::logs;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const RESTART_AFTER_MIN: Duration = Duration::from_millis(200);
const RESTART_AFTER_MAX: Duration = Duration::from_secs(10);
/// A child that ran this long is healthy again: its next crash is restarted at once.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How one child is started and stopped.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) command: Command,
    pub(super) log: PathBuf,
    pub(super) stop_signal: Signal,
    /// After that much patience it is killed.
    pub(super) stop_max: Duration,
}

impl Spec {
    /// A child that is this binary in another role.
    pub(super) fn ours(
        role: &'static str,
        variables: &[(String, String)],
        home: &Home,
        stop_max: Duration,
    ) -> Result<Self> {
        let mut command = ours(variables)?;
        command.arg(role).arg("--with-parent");
        let log = home.logs().join(format!("{role}.log"));
        Ok(Self { name: role, command, log, stop_signal: Signal::TERM, stop_max })
    }
}

/// This binary, with our settings and no others.
pub(super) fn ours(variables: &[(String, String)]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this binary")?);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("TOLLGATE_") || name.ends_with("_URL") || name.ends_with("_URL_FILE") {
            command.env_remove(&*name);
        }
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null());
    Ok(command)
}

pub(super) struct Service {
    name: &'static str,
    log: PathBuf,
    wanted: watch::Sender<Wanted>,
    /// How often the child has ended by itself.
    ends: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Running,
    Stopped,
    Killed,
}

impl Service {
    /// Starts the child, and the task that keeps it running.
    pub(super) fn start(mut spec: Spec) -> Result<Self> {
        let child = spawn(&mut spec)?;
        let (wanted, mut watched) = watch::channel(Wanted::Running);
        let (ended, ends) = watch::channel(0);
        let (name, log) = (spec.name, spec.log.clone());
        let task =
            tokio::spawn(async move { supervise(&mut spec, child, &mut watched, &ended).await });
        Ok(Self { name, log, wanted, ends, task })
    }

    /// Waits until `probe` succeeds. A child that ends meanwhile is a failed start: what it said last is the error.
    pub(super) async fn ready(
        &mut self,
        patience: Duration,
        probe: impl AsyncFn() -> Result<()>,
    ) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            let Err(error) = probe().await else { return Ok(()) };
            if *self.ends.borrow() > 0 {
                bail!("{} did not start: {}", self.name, last_words(&self.log));
            }
            if Instant::now() > until {
                return Err(error.context(format!(
                    "{} was not ready within {} s; see {}",
                    self.name,
                    patience.as_secs(),
                    self.log.display()
                )));
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    pub(super) async fn stop(&mut self) {
        self.wanted.send_replace(Wanted::Stopped);
        (&mut self.task).await.ok();
    }

    /// Without patience. The child is gone when this process is: it is killed when dropped.
    pub(super) fn kill(self) {
        self.wanted.send_replace(Wanted::Killed);
        self.task.abort();
    }
}

async fn supervise(
    spec: &mut Spec,
    mut child: Child,
    wanted: &mut watch::Receiver<Wanted>,
    ended: &watch::Sender<u32>,
) {
    let mut pause = RESTART_AFTER_MIN;
    let mut look = tokio::time::interval(logs::LOOK_EVERY);
    loop {
        let started = Instant::now();
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = look.tick() => logs::bound(spec.log.clone()).await,
                () = unwanted(wanted) => return end(spec, child, wanted).await,
            }
        };
        ended.send_modify(|count| *count += 1);
        if started.elapsed() > HEALTHY_AFTER {
            pause = RESTART_AFTER_MIN;
        }
        child = loop {
            let how = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
            eprintln!(
                "{} ended ({how}); it is started again in {} ms",
                spec.name,
                pause.as_millis()
            );
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = unwanted(wanted) => return,
            }
            pause = (pause * 2).min(RESTART_AFTER_MAX);
            match spawn(spec) {
                Ok(child) => break child,
                Err(error) => eprintln!("{error:#}"),
            }
        };
    }
}

async fn unwanted(wanted: &mut watch::Receiver<Wanted>) {
    wanted.wait_for(|wanted| *wanted != Wanted::Running).await.ok();
}

async fn end(spec: &Spec, mut child: Child, wanted: &mut watch::Receiver<Wanted>) {
    let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    rustix::process::kill_process(pid, spec.stop_signal).ok();
    tokio::select! {
        _ = child.wait() => return,
        () = tokio::time::sleep(spec.stop_max) => eprintln!("{} did not stop in time and is killed", spec.name),
        _ = wanted.wait_for(|wanted| *wanted == Wanted::Killed) => {}
    }
    child.kill().await.ok();
}

fn spawn(spec: &mut Spec) -> Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(&spec.log);
    let log = log.with_context(|| format!("cannot write the log {}", spec.log.display()))?;
    spec.command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // Of a group of its own: a ^C in the terminal reaches `up`, which stops its children in order.
    spec.command.process_group(0).kill_on_drop(true);
    spec.command.spawn().with_context(|| format!("cannot start {}", spec.name))
}

/// The last line of a log, for an error message.
pub(super) fn last_words(log: &Path) -> String {
    const TAIL_BYTES: i64 = 4096;
    let tail = || {
        let mut file = File::open(log).ok()?;
        let length = i64::try_from(file.metadata().ok()?.len()).ok()?;
        file.seek(SeekFrom::End(-length.min(TAIL_BYTES))).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
    };
    tail().unwrap_or_else(|| format!("it said nothing in {}", log.display()))
}
