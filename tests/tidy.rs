//! What no compiler checks: which way calls point, where `unsafe` may be, what the build is made of, and that
//! every tenant's table is fenced.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 600;

/// The only files that may say `unsafe`, and why.
const UNSAFE_ALLOWED: &[&str] = &[
    // The journal's segments are mapped files.
    "data-plane/src/counter/journal.rs",
    // systemd names the sockets that it opened by their numbers.
    "data-plane/src/supervisor.rs",
];

/// Between directories of the control plane: who must not name whom, in code that is not a test's.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "control-plane/src/store",
        &["crate::graphql", "crate::rest", "crate::grpc", "crate::ledger", "crate::jobs"],
    ),
    ("control-plane/src/domain", &["crate::graphql", "crate::rest"]),
    ("control-plane/src/access", &["crate::graphql", "crate::rest"]),
    ("control-plane/src/snapshot", &["crate::graphql", "crate::rest"]),
    ("control-plane/src/ledger", &["crate::graphql", "crate::rest"]),
    ("control-plane/src/graphql", &["crate::store"]),
    ("control-plane/src/rest", &["crate::store"]),
    ("control-plane/src", &["data_plane::", "sqlx::postgres::PgListener::connect("]),
    ("data-plane/src", &["control_plane::", "sqlx::"]),
    ("data-plane/plan/src", &["std::net::Tcp", "tokio::", "std::fs", "hyper"]),
    (
        "data-plane/upstream/src",
        &["std::net", "tokio::net", "tokio::spawn", "std::fs", "hyper", "egress"],
    ),
    (
        "data-plane/downstream/src",
        &["std::net", "tokio::net", "tokio::spawn", "std::fs", "hyper", "egress", "upstream"],
    ),
    (
        "data-plane/http1/src",
        &["std::net", "tokio::net", "tokio::spawn", "std::fs", "hyper", "upstream", "downstream"],
    ),
    ("data-plane/lease/src", &["std::net", "tokio::", "std::fs", "std::time", "rustix"]),
    ("data-plane/permit/src", &["std::net", "tokio::", "std::fs", "std::time", "rustix"]),
    (
        "data-plane/velocity/src",
        &["std::net", "tokio::", "std::fs", "std::time", "plan::", "proto::"],
    ),
    ("proto/src", &["control_plane::", "data_plane::"]),
];

/// Words that must not be committed, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("todo!(", "write it, or leave it out"),
    ("unimplemented!(", "write it, or leave it out"),
    ("dbg!(", "log it, or leave it out"),
    ("FIXME", "mend it"),
    ("XXX", "mend it"),
    ("thread::sleep(Duration::from_secs", "wait for the event"),
];

/// Paths of some machine, which a reader elsewhere does not have.
const MACHINE_PATHS: &[&str] = &["/home/", "/Users/", "/work/", "C:\\\\"];

/// Connections outside these crates and files would pass by the guard.
const CLIENTS_ALLOWED: &[&str] = &[
    "data-plane/egress/",
    "data-plane/src/tests/",
    "data-plane/upstream/benches/",
    "data-plane/src/snapshot/channel.rs", // to the control plane, on nobody's behalf
    "tests/",
    "deploy/tollgate/",
];

struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the workspace")
        .to_owned()
}

/// Every file that git tracks, or would: text only.
fn sources(endings: &[&str]) -> Vec<Source> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    let chosen = names.lines().filter(|name| endings.iter().any(|ending| name.ends_with(ending)));
    // A file that was deleted but not yet committed is listed and not there.
    chosen
        .filter_map(|name| {
            Some(Source {
                path: name.to_owned(),
                text: std::fs::read_to_string(root().join(name)).ok()?,
            })
        })
        .collect()
}

fn rust() -> Vec<Source> {
    let sources = sources(&[".rs"]);
    assert!(sources.len() > 20, "only {} Rust files were found", sources.len());
    sources
}

fn without_tests(text: &str) -> &str {
    // At the left edge the attribute stands before the module of tests, with others between at times.
    let tests = text.match_indices("\n#[cfg(test)]\n").find(|(at, _)| {
        let rest = text[at + 1..].lines().find(|line| !line.starts_with("#["));
        rest.is_some_and(|line| line.ends_with('{') && line.contains("mod "))
    });
    tests.map_or(text, |(at, _)| &text[..at])
}

/// A file's code without its tests and its comments.
fn code(text: &str) -> String {
    without_tests(text)
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn imports_follow_the_arrows() {
    let mut found = Vec::new();
    for source in rust() {
        let code = code(&source.text);
        for (directory, refused) in ARROWS {
            if source.path.starts_with(&format!("{directory}/")) {
                let named = refused.iter().filter(|name| code.contains(*name));
                found.extend(named.map(|name| format!("{} names {name}", source.path)));
            }
        }
    }
    assert_none("calls point the wrong way", &found);
}

/// `store` may name types of `domain` and of `snapshot` (a deployment's document), never call their functions:
/// such paths end in a capital letter.
#[test]
fn the_store_takes_types_from_the_domain_and_no_functions() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|source| source.path.starts_with("control-plane/src/store/"))
    {
        for line in code(&source.text)
            .lines()
            .filter(|line| line.contains("domain::") || line.contains("snapshot::"))
        {
            let last =
                line.trim_end_matches([';', ' ', ',']).rsplit("::").next().unwrap_or_default();
            let names: Vec<_> = last.trim_matches(['{', '}']).split(',').map(str::trim).collect();
            let lower =
                names.iter().any(|name| name.starts_with(|first: char| first.is_ascii_lowercase()));
            if line.trim_start().starts_with("use ") && lower {
                found.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("functions of the domain in the store", &found);
}

#[test]
fn unsafe_stays_in_its_files() {
    // Split, so that this file does not find itself.
    let word = concat!("un", "safe ");
    let mut found = Vec::new();
    for source in rust().iter().filter(|source| !UNSAFE_ALLOWED.contains(&source.path.as_str())) {
        let lines = source.text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let said = lines.filter(|line| {
            line.contains(&format!("{word}{{"))
                || line.contains(&format!("{word}fn"))
                || line.contains(&format!("{word}impl"))
        });
        found.extend(said.map(|line| format!("{}: {}", source.path, line.trim())));
    }
    assert_none("unsafe outside the files that may", &found);
}

#[test]
fn nothing_unfinished_is_committed() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|source| source.path != "tests/tidy.rs") {
        for (word, instead) in BANNED {
            if source.text.contains(word) {
                found.push(format!("{} says {word}: {instead}", source.path));
            }
        }
        if source.text.contains("#[allow(") || source.text.contains("#![allow(") {
            found.push(format!("{}: use #[expect(…, reason = …)]", source.path));
        }
    }
    assert_none("words that must not stay", &found);
}

#[test]
fn no_file_names_a_path_of_someones_machine() {
    let endings = [
        ".rs", ".toml", ".sql", ".proto", ".md", ".ts", ".tsx", ".json", ".css", ".html", "up",
        "down", "run", "prepare",
    ];
    let mut found = Vec::new();
    for source in sources(&endings).iter().filter(|source| source.path != "tests/tidy.rs") {
        for (number, line) in source.text.lines().enumerate() {
            if MACHINE_PATHS.iter().any(|path| line.contains(path)) {
                found.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert_none("paths of one machine", &found);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let found: Vec<_> = rust()
        .iter()
        .chain(&sources(&[".ts", ".tsx"]))
        .map(|source| (source.path.clone(), without_tests(&source.text).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(
        "files over 600 lines before their tests: look for the second subject in them",
        &found,
    );
}

/// Whoever opens connections on a tenant's behalf goes through `egress`.
#[test]
fn only_the_guard_opens_connections() {
    let connects = ["TcpStream::connect(", "HttpConnector::new(", "reqwest::"];
    let mut found = Vec::new();
    for source in rust()
        .iter()
        .filter(|source| !CLIENTS_ALLOWED.iter().any(|allowed| source.path.starts_with(allowed)))
    {
        let code = code(&source.text);
        found.extend(
            connects
                .iter()
                .filter(|call| code.contains(*call))
                .map(|call| format!("{}: {call}", source.path)),
        );
    }
    assert_none("connections past the guard", &found);
}

/// Every table with a tenant is fenced in the migration files themselves; a story walks the real catalog.
#[test]
fn every_tenant_table_has_forced_row_security() {
    let migrations: String =
        sources(&[".sql"]).into_iter().map(|source| source.text + "\n").collect();
    let mut tables = BTreeSet::new();
    for statement in migrations.split("create table ").skip(1) {
        let name = statement.split_whitespace().next().unwrap_or_default();
        let body = statement.split("\n)").next().unwrap_or_default();
        if body.contains("tenant_id ") || name == "tenant" {
            tables.insert(name.trim_end_matches('(').to_owned());
        }
    }
    assert!(tables.len() > 10, "only {tables:?} have tenants");
    let fenced = |table: &String| {
        let by_name = migrations.contains(&format!("alter table {table} force row level security"));
        let in_a_loop = migrations.contains(&format!("'{table}'"));
        by_name || in_a_loop
    };
    let open: Vec<_> = tables.iter().filter(|table| !fenced(table)).cloned().collect();
    assert_none("tables without forced row-level security", &open);
}

/// The packages that are built into our programs on this platform, with their licences. `cargo tree`, because
/// `cargo metadata` also lists optional packages that no feature selects.
fn built() -> BTreeMap<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--workspace",
            "--offline",
            "--locked",
            "--edges=normal,build",
            "--prefix=none",
        ])
        .arg("--format={p}\t{l}")
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    let name = |package: &str| package.split(' ').next().unwrap_or_default().to_owned();
    lines
        .map(|(package, licence)| (name(package), licence.trim_end_matches(" (*)").to_owned()))
        .collect()
}

/// A list of strings in `.deny.toml`.
fn listed(section: &str, key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(".deny.toml")).expect(".deny.toml is there");
    let section = text.split(&format!("[{section}]")).nth(1).expect("the section is there");
    let list = section.split(&format!("{key} = [")).nth(1).expect("the key is there");
    let list = list.split(']').next().expect("a list ends");
    list.split(',')
        .map(|item| item.trim().trim_matches('"').to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

#[test]
fn banned_packages_are_not_built() {
    let built = built();
    assert!(built.contains_key("tokio"), "the walk over the packages found nothing");
    let found: Vec<_> =
        listed("bans", "deny").into_iter().filter(|name| built.contains_key(name)).collect();
    assert_none("banned packages are in the build", &found);
}

#[test]
fn every_licence_is_allowed() {
    let allowed: BTreeSet<_> = listed("licenses", "allow").into_iter().collect();
    assert!(allowed.contains("MIT"), "the list of licences was not read");
    // `A OR B` needs one of them, `A AND B` both.
    let one = |part: &str| allowed.contains(part.trim_matches(['(', ')', ' ']));
    let fits = |licence: &str| {
        let licence = licence.replace('/', " OR ");
        allowed.contains(&licence) || licence.split(" AND ").all(|part| part.split(" OR ").any(one))
    };
    let found: Vec<_> = built()
        .into_iter()
        .filter(|(_, licence)| !fits(licence))
        .map(|(name, licence)| format!("{name}: {licence}"))
        .collect();
    assert_none("licences that .deny.toml does not allow", &found);
}
