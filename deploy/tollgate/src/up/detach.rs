//! `--detach`: the same `up` in a session of its own, and a wait until it is ready.

use super::home::Home;
use anyhow::{Context, Result};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Passes on what the other process printed, and its exit code where it did not come up.
pub(super) fn run(home: &Home) -> Result<ExitCode> {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|argument| if argument == "--detach" { "--detached".into() } else { argument });
    home.prepare_log()?;
    let path = home.logs().join("up.log");
    let log =
        std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the process that stays")?;
    loop {
        if let Some(status) = child.try_wait()? {
            eprint!("{}", std::fs::read_to_string(&path)?);
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(ExitCode::from(code.filter(|code| *code != 0).unwrap_or(1)));
        }
        if home.ready_by(child.id()) {
            print!("{}", std::fs::read_to_string(&path)?);
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}
