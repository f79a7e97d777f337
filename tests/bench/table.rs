//! Targets beside one another, round by round, and what is printed of it.
//!
//! Each round loads every target once, in turn, so that a machine whose speed drifts slows all of them; the ratio is taken
//! round by round, and its median printed. The figure is CPU time of the gateway's processes over the calls that were
//! answered: it counts no time off the CPU, so it survives a busy machine far better than calls per second do.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::load::{Load, Target};
use crate::machine::{cpu_nanos, memory_kib};

/// Targets under the same load.
pub(crate) struct Comparison {
    pub(crate) case: &'static str,
    pub(crate) title: String,
    pub(crate) load: Load,
    /// The status of every answer.
    pub(crate) expected: u16,
    pub(crate) targets: Vec<Target>,
    /// So many of the first are what all are measured against.
    pub(crate) references: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    /// Where the load comes from.
    pub(crate) cores: &'static str,
}

/// Figures of one target in one round.
struct Round {
    micros: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    memory_mib: f64,
}

/// Figures by name, of targets by name.
pub(crate) struct Table {
    case: &'static str,
    title: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<f64>)>,
    goals: Vec<Value>,
}

impl Comparison {
    pub(crate) fn run(&self) -> Result<Table> {
        let mut rounds: Vec<Vec<Round>> = self.targets.iter().map(|_| Vec::new()).collect();
        for round in 0..=self.rounds {
            for (target, rounds) in self.targets.iter().zip(&mut rounds) {
                let measured = self.measure(target).with_context(|| target.name.clone())?;
                // The first round fills caches and pools.
                if round > 0 {
                    rounds.push(measured);
                }
            }
        }
        let references: Vec<_> = self.targets.iter().zip(&rounds).take(self.references).collect();
        let mut table = Table::new(self.case, &self.title);
        table.columns =
            ["CPU µs/request", "lowest", "requests/s", "p50 µs", "p99 µs", "memory MiB"]
                .map(str::to_owned)
                .to_vec();
        for (reference, _) in &references {
            let name = &reference.name;
            table.columns.extend([format!("× {name}"), format!("lowest × {name}")]);
        }
        if let Some((first, _)) = references.first() {
            table.columns.push(format!("p50 × {}", first.name));
        }
        for (target, rounds) in self.targets.iter().zip(&rounds) {
            let median_of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
            let mut row = vec![
                median_of(|round| round.micros),
                lowest(rounds),
                median_of(|round| round.per_second),
                median_of(|round| round.p50_us),
                median_of(|round| round.p99_us),
                median_of(|round| round.memory_mib),
            ];
            for (_, reference) in &references {
                let pairs = rounds.iter().zip(*reference);
                row.push(median(pairs.map(|(ours, theirs)| ours.micros / theirs.micros)));
                row.push(lowest(rounds) / lowest(reference));
            }
            if let Some((_, first)) = references.first() {
                let pairs = rounds.iter().zip(*first);
                row.push(median(pairs.map(|(ours, theirs)| ours.p50_us / theirs.p50_us)));
            }
            table.rows.push((target.name.clone(), row));
        }
        Ok(table)
    }

    fn measure(&self, target: &Target) -> Result<Round> {
        let before = cpu_nanos(&target.processes)?;
        let made = self.load.make(target, self.expected, self.seconds, self.cores)?;
        let spent = cpu_nanos(&target.processes)? - before;
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds, KiB of processes")]
        let (micros, memory_mib) =
            (spent as f64 / 1000.0, memory_kib(&target.processes)? as f64 / 1024.0);
        Ok(Round {
            micros: micros / made.requests,
            per_second: made.requests / made.seconds,
            p50_us: made.p50_us,
            p99_us: made.p99_us,
            memory_mib,
        })
    }
}

impl Table {
    pub(crate) fn new(case: &'static str, title: &str) -> Self {
        let title = title.to_owned();
        Self { case, title, columns: Vec::new(), rows: Vec::new(), goals: Vec::new() }
    }

    #[must_use]
    pub(crate) fn columns(mut self, columns: &[&str]) -> Self {
        self.columns = columns.iter().map(|column| (*column).to_owned()).collect();
        self
    }

    /// A figure for each column.
    #[must_use]
    pub(crate) fn row(mut self, name: &str, figures: &[f64]) -> Self {
        self.rows.push((name.to_owned(), figures.to_vec()));
        self
    }

    fn figure(&self, row: &str, column: &str) -> Option<f64> {
        let column = self.columns.iter().position(|name| name == column)?;
        let (_, row) = self.rows.iter().find(|(name, _)| name == row)?;
        row.get(column).copied()
    }

    /// Sets a figure against the most that it must, and the most that it should, be.
    pub(crate) fn goal(mut self, row: &str, column: &str, must: f64, aim: f64) -> Result<Self> {
        let figure = self.figure(row, column).with_context(|| format!("no {column} of {row}"))?;
        let verdict = match figure {
            figure if figure <= aim => "aim met",
            figure if figure <= must => "met",
            _ => "not met",
        };
        self.goals.push(json!({
            "target": row, "figure": column, "must": must, "aim": aim, "measured": figure,
            "verdict": verdict,
        }));
        Ok(self)
    }

    pub(crate) fn print(&self) {
        println!("\n## {}\n{}\n", self.case, self.title);
        println!("| target | {} |", self.columns.join(" | "));
        println!("|---|{}", "---|".repeat(self.columns.len()));
        for (name, row) in &self.rows {
            let figures: Vec<_> = row.iter().map(|figure| short(*figure)).collect();
            println!("| {name} | {} |", figures.join(" | "));
        }
        for goal in &self.goals {
            println!(
                "\nGoal: {} of {}: must be ≤ {}, should be ≤ {}, is {}: {}",
                goal["figure"].as_str().unwrap_or_default(),
                goal["target"].as_str().unwrap_or_default(),
                goal["must"],
                goal["aim"],
                short(goal["measured"].as_f64().unwrap_or_default()),
                goal["verdict"].as_str().unwrap_or_default()
            );
        }
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, row)| {
            let figures = self.columns.iter().zip(row);
            let figures = figures.map(|(column, figure)| (column.clone(), json!(figure)));
            json!({ "target": name, "figures": figures.collect::<Map<_, _>>() })
        });
        json!({
            "case": self.case, "title": self.title, "rows": rows.collect::<Vec<_>>(),
            "goals": self.goals,
        })
    }
}

fn short(figure: f64) -> String {
    match figure {
        figure if figure < 100.0 => format!("{figure:.2}"),
        figure if figure < 1000.0 => format!("{figure:.1}"),
        figure => format!("{figure:.0}"),
    }
}

fn lowest(rounds: &[Round]) -> f64 {
    rounds.iter().map(|round| round.micros).fold(f64::INFINITY, f64::min)
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
