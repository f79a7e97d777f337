//! How many cases of each row hold.

use crate::table::Table;
use std::collections::BTreeMap;
use std::fmt;

/// What the last run of each suite told. Kept so that it is read where nothing runs.
const SCOREBOARD: &str = include_str!("SCOREBOARD.md");

#[derive(Default)]
pub(crate) struct Score {
    /// By letter and number of the row: of all its cases those that hold.
    rows: BTreeMap<(String, u32), (usize, usize)>,
    failures: Vec<String>,
}

impl Score {
    pub(crate) fn note(
        &mut self,
        table: &Table,
        dialect: &str,
        case: &str,
        told: Result<(), String>,
    ) {
        let (letter, number) = table.row.split_at(1);
        let (held, all) =
            self.rows.entry((letter.to_owned(), number.parse().unwrap())).or_default();
        *all += 1;
        match told {
            Ok(()) => *held += 1,
            Err(wrong) => {
                let Table { row, rule, .. } = table;
                self.failures.push(format!("{row} ({rule}) in {dialect}: {case}: {wrong}"));
            }
        }
    }

    /// Prints the score, and holds that every case does, and that the scoreboard has it under the suite's heading.
    pub(crate) fn settle(&self, suite: &str) {
        println!("{self}");
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n"));
        let heading = format!("## {suite}\n\n| row | cases that hold |\n|---|---|\n");
        let written = SCOREBOARD.split_once(&heading).map(|(_, rest)| rest);
        let written = written.and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
        let told = self.to_string();
        assert!(
            written.trim_end() == told.trim_end(),
            "tests/conformance/SCOREBOARD.md must say:\n\n{heading}{told}"
        );
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((letter, number), (held, all)) in &self.rows {
            writeln!(f, "| {letter}{number} | {held} of {all} |")?;
        }
        Ok(())
    }
}
