//! How many cases of each row hold.

use crate::table::Table;
use std::collections::BTreeMap;
use std::fmt;

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

    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((letter, number), (held, all)) in &self.rows {
            writeln!(f, "{:<4} {held} of {all}", format!("{letter}{number}"))?;
        }
        Ok(())
    }
}
