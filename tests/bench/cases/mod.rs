//! The cases of the table, by name.

mod bodies;
mod calls;
mod idle;
mod pushes;
mod refused;
mod routes;
mod threads;
mod tls;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::arguments::Arguments;
use crate::field::Field;
use crate::load::{Load, Target};
use crate::machine;
use crate::nginx;
use crate::peer::Peer;
use crate::table::{Comparison, Table};

const NAMES: [&str; 13] = [
    "features",
    "plain",
    "tls",
    "handshake",
    "h2",
    "download",
    "upload",
    "paced",
    "idle",
    "refused",
    "routes",
    "pushes",
    "threads",
];
const ROUNDS: usize = 7;
const SECONDS: u32 = 2;
/// Connections of HTTP/1.1 that ask again and again.
const CONNECTIONS: u32 = 64;
/// All but the gateway's: the load, the backend, and the rest of the world.
const LOAD_CORES: &str = "1-3";

/// What cases have in common.
struct Bench<'a> {
    arguments: &'a Arguments,
    backend: Peer,
    field: OnceCell<Field>,
}

impl Bench<'_> {
    /// Made when the first case asks for it.
    async fn field(&self) -> Result<&Field> {
        self.field.get_or_try_init(|| Box::pin(Field::start(&self.backend))).await
    }

    /// Under the load that a case has where it does not say otherwise.
    fn comparison(&self, case: &'static str, title: &str, targets: Vec<Target>) -> Comparison {
        Comparison {
            case,
            title: title.to_owned(),
            load: Load::Wrk { connections: CONNECTIONS },
            expected: 200,
            targets,
            references: 2,
            rounds: self.arguments.rounds(ROUNDS),
            seconds: SECONDS,
            cores: LOAD_CORES,
        }
    }

    async fn case(&self, name: &str) -> Result<Vec<Table>> {
        let table = match name {
            "features" => calls::features(self).await,
            "plain" => calls::plain(self).await,
            "tls" => tls::kept(self).await,
            "handshake" => tls::handshake(self).await,
            "h2" => tls::http2(self).await,
            "download" => bodies::download(self).await,
            "upload" => bodies::upload(self).await,
            "paced" => calls::paced(self).await,
            "idle" => idle::run(self).await,
            "refused" => return refused::run(self).await,
            "routes" => routes::run(self).await,
            "pushes" => pushes::run(self).await,
            "threads" => threads::run(self).await,
            _ => unreachable!("names were checked"),
        };
        Ok(vec![table?])
    }
}

/// Runs the cases that were asked for, all where none was, and prints each when it is known.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let unknown = arguments.cases.iter().find(|name| !NAMES.contains(&name.as_str()));
    ensure!(
        unknown.is_none(),
        "there is no case {}; there are {}",
        unknown.map_or("", String::as_str),
        NAMES.join(", ")
    );
    // What is started from here on has these cores too; gateways are given theirs.
    machine::pin(std::process::id(), LOAD_CORES)?;
    machine::take_precedence()?;
    let backend = nginx::backend().context("nginx as the backend")?;
    let bench = Bench { arguments, backend, field: OnceCell::new() };
    let asked = |name: &&str| {
        arguments.cases.is_empty() || arguments.cases.iter().any(|asked| asked == name)
    };
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for name in NAMES.iter().filter(|name| asked(name)) {
        match bench.case(name).await {
            Ok(tables) => {
                tables.iter().for_each(Table::print);
                figures.extend(tables.iter().map(Table::json));
            }
            // The others are measured all the same.
            Err(error) => {
                println!("\n## {name}\nNot measured: {error:#}");
                failed.push(*name);
            }
        }
        arguments.keep(&json!({ "cases": figures, "failed": failed }))?;
    }
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}
