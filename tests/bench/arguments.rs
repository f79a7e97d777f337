//! What the benchmark is asked for.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub(crate) const USAGE: &str = "usage: bench [fairness | overload | convergence | intake | telemetry | usage] [--case NAME]... [--quick] \
                     [--json PATH]";

#[derive(Default)]
pub(crate) struct Arguments {
    /// Another measurement than the table.
    pub(crate) subject: Option<String>,
    /// Of the table, these cases alone.
    pub(crate) cases: Vec<String>,
    /// Fewer rounds: whether it works, not how fast it is.
    pub(crate) quick: bool,
    /// Where the figures go, beside the table.
    pub(crate) json: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn read(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut arguments = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().with_context(|| format!("{word} needs a value; {USAGE}"));
            match word.as_str() {
                "--quick" => arguments.quick = true,
                "--case" => arguments.cases.push(value()?),
                "--json" => arguments.json = Some(value()?.into()),
                flag if flag.starts_with('-') => bail!("there is no flag {flag}; {USAGE}"),
                _ if arguments.subject.is_none() => arguments.subject = Some(word),
                _ => bail!("one measurement at a time, not {word} as well; {USAGE}"),
            }
        }
        Ok(arguments)
    }

    pub(crate) fn rounds(&self, whole: usize) -> usize {
        if self.quick { 3 } else { whole }
    }

    /// Writes the figures where they were asked for.
    pub(crate) fn keep(&self, figures: &serde_json::Value) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(figures)?;
        std::fs::write(path, text + "\n").with_context(|| format!("--json {}", path.display()))
    }
}
