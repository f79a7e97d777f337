use super::*;
use crate::cli::{Cli, ControlPlaneArgs, DataPlaneArgs};
use clap::{CommandFactory, FromArgMatches};

fn with_text(text: &str) -> Result<Command> {
    let path = std::env::temp_dir()
        .join(format!("tollgate-settings-{}.toml", hex::encode(rand::random::<[u8; 8]>())));
    std::fs::write(&path, text)?;
    let command = with_file(Cli::command(), &path);
    std::fs::remove_file(&path)?;
    command
}

fn parsed(command: Command, arguments: &[&str]) -> ControlPlane {
    let matches = command.try_get_matches_from(arguments).unwrap();
    ControlPlane::from_arg_matches(matches.subcommand().unwrap().1).unwrap()
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let command =
        with_text("http_listen = '127.0.0.1:1111'\ngrpc_listen = '127.0.0.1:2222'").unwrap();
    let settings =
        parsed(command, &["tollgate", "control-plane", "--http-listen", "127.0.0.1:3333"]);
    assert_eq!(settings.http_listen.port(), 3333);
    assert_eq!(settings.grpc_listen.port(), 2222);
    assert_eq!(settings.admin_listen.port(), 9902);
}

#[test]
fn an_unknown_key_of_the_file_is_named() {
    let error = with_text("http_lisen = '127.0.0.1:1111'").unwrap_err().to_string();
    assert!(error.contains("unknown setting `http_lisen`"), "{error}");
}

#[test]
fn variables_written_as_a_file_are_read_as_they_were() {
    let matches = Cli::command()
        .try_get_matches_from(["tollgate", "control-plane", "--egress-allow", "10.0.0.0/8,::1/128"])
        .unwrap();
    let given = environment::<ControlPlaneArgs>(matches.subcommand().unwrap().1);
    let matches =
        with_text(&as_file(&given)).unwrap().get_matches_from(["tollgate", "control-plane"]);
    assert_eq!(environment::<ControlPlaneArgs>(matches.subcommand().unwrap().1), given);
}

#[test]
fn what_up_was_given_reaches_the_child_of_its_role() {
    let matches = Cli::command()
        .try_get_matches_from([
            "tollgate",
            "up",
            "--cells",
            "a,b",
            "--http-listen",
            "127.0.0.1:4444",
        ])
        .unwrap();
    let given = matches.subcommand().unwrap().1;
    let variables: BTreeMap<_, _> = environment::<DataPlaneArgs>(given).into_iter().collect();
    assert_eq!(variables["TOLLGATE_CELLS"], "a,b");
    assert_eq!(variables["TOLLGATE_NODE_LISTEN"], "127.0.0.1:9080");
    assert!(!variables.contains_key("TOLLGATE_HTTP_LISTEN"));
}
