//! The real program, run as a person would: help, completions, configuration and wrong command lines.
//!
//! What it says is kept in `tests/snapshots/`; look at the difference before you accept a new one.

use backstay_testkit::{Backstay, Run};

const EXAMPLE: &str = include_str!("fixtures/backstay.yaml");

fn program() -> Backstay {
    Backstay::new(env!("CARGO_BIN_EXE_backstay")).expect("a temporary folder can be made")
}

fn run(args: &[&str]) -> Run {
    program().run(args).expect("the program starts")
}

/// Runs with `yaml` as the configuration.
fn run_with(yaml: &str, args: &[&str]) -> Run {
    let program = program();
    program.configure(yaml).expect("the configuration can be written");
    program.run(args).expect("the program starts")
}

/// What a run said, with its exit code, as one text.
fn said(run: &Run) -> String {
    run.to_string().replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn help_is_written_with_care() {
    for command in [
        "",
        "init",
        "backup",
        "capture",
        "timeline",
        "ls",
        "get",
        "diff",
        "restore",
        "restores",
        "drill",
        "schema",
        "undo",
        "verify",
        "compact",
        "status",
        "doctor",
        "config",
        "explain",
        "key",
        "repo",
        "completions",
    ] {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let run = run(&args).ok();
        assert_eq!(run.stderr, "");
        insta::assert_snapshot!(format!("help_{}", if command.is_empty() { "backstay" } else { command }), run.stdout);
    }
    assert_eq!(run(&["--version"]).ok().stdout, format!("backstay {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let lines: [&[&str]; 7] = [
        &[],
        &["bakcup", "shop"],
        &["restore", "shop", "--in-place"],
        &["restore", "shop", "--at", "2026-11-21T14:03:05.5Z", "--in-place"],
        &["restore", "shop", "--at", "latest", "--in-place", "--into", "mongodb://x"],
        &["get", "shop", "shop.orders", "{"],
        &["verify", "shop", "--sample", "8/7"],
    ];
    let runs: Vec<String> = lines.iter().map(|args| said(&run(args).expect_code(2))).collect();
    insta::assert_snapshot!("wrong_command_lines", runs.join("\n\n"));
}

#[test]
fn a_wrong_command_line_is_json_when_asked_for() {
    let run = run(&["backup", "--json"]).expect_code(2);
    assert_eq!(run.stderr, "");
    insta::assert_snapshot!("wrong_command_line_json", run.stdout);
    assert_eq!(run.json_error()["code"], "usage");
}

#[test]
fn the_example_configuration_is_shown_and_in_order() {
    insta::assert_snapshot!("config_show", run_with(EXAMPLE, &["config", "show"]).ok().stdout);
    insta::assert_snapshot!("config_show_json", run_with(EXAMPLE, &["config", "show", "--json"]).ok().stdout);
    insta::assert_snapshot!("config_validate", run_with(EXAMPLE, &["config", "validate"]).ok().stdout);
    let json = run_with(EXAMPLE, &["config", "validate", "--json"]).ok().json();
    assert_eq!(json["valid"], true);
}

#[test]
fn a_wrong_configuration_is_explained() {
    let nowhere = EXAMPLE.replace("file:./archive", "ftp://bucket/a").replace("    uri:", "    # uri:");
    let cases = [
        EXAMPLE.replace("include:", "inclued:"),
        EXAMPLE.replace("field: tenant", "feild: tenant"),
        EXAMPLE.replace("kind: mongodb", "kind: redis"),
        EXAMPLE.replace("mongodb://127", "mongodb://ann:pw@127").replace("tenant_*.*", "tenant"),
        EXAMPLE.replace("sources:", "sources"),
        nowhere.clone(),
    ];
    let mut runs = Vec::new();
    for yaml in cases {
        let run = run_with(&yaml, &["config", "show"]).expect_code(2);
        assert!(!run.to_string().contains("pw@"), "{run}");
        runs.push(said(&run));
    }
    runs.push(said(&run_with(&nowhere, &["config", "validate"]).expect_code(2)));
    runs.push(said(&run_with(&nowhere, &["config", "validate", "--json"]).expect_code(2)));
    runs.push(said(&run_with(&nowhere, &["config", "show", "--json"]).expect_code(2)));
    insta::assert_snapshot!("wrong_configurations", runs.join("\n\n"));
}

#[test]
fn without_a_configuration_the_places_are_named() {
    let program = program();
    let home = program.folder().display().to_string();
    let run = program.run(["config", "show"]).expect("the program starts").expect_code(2);
    insta::assert_snapshot!("no_configuration", said(&run).replace(&home, "HOME"));
    let named = program.run(["config", "show", "--config", "other.yaml"]).expect("the program starts").expect_code(2);
    insta::assert_snapshot!("no_such_configuration", said(&named));
}

#[test]
fn a_variable_stands_for_its_flag() {
    let program = program().env("BACKSTAY_JSON", "yes").env("BACKSTAY_CONFIG", "elsewhere/b.yaml");
    std::fs::create_dir(program.folder().join("elsewhere")).expect("a folder can be made");
    std::fs::write(program.folder().join("elsewhere/b.yaml"), EXAMPLE).expect("a file can be written");
    let json = program.run(["config", "show"]).expect("the program starts").ok().json();
    assert_eq!(json["repository"]["url"], "file:elsewhere/./archive");
}

#[test]
fn a_wrong_log_filter_is_refused() {
    let program = program().env("BACKSTAY_LOG", "backstay=loud");
    let run = program.run(["completions", "bash"]).expect("the program starts").expect_code(2);
    assert!(run.stderr.starts_with("error: BACKSTAY_LOG is not a log filter"), "{run}");
}

#[test]
fn an_error_code_is_explained() {
    let by_word = run(&["explain", "unrestorable"]).ok();
    assert_eq!(by_word.stdout, run(&["explain", "16"]).ok().stdout);
    assert!(by_word.stdout.starts_with("# `unrestorable` (exit code 16)") && by_word.stdout.contains("timeline"));
    assert_eq!(run(&["explain", "denied", "--json"]).ok().json()["code"], "denied");
    let unknown = run(&["explain", "odd"]).expect_code(2);
    assert!(unknown.stderr.contains("check_failed"), "{unknown}");
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let run = run(&["completions", shell]).ok();
        assert_eq!(run.stderr, "");
        for word in ["timeline", "on-conflict", "overwrite"] {
            assert!(run.stdout.contains(word), "{shell}: {word}");
        }
    }
    let unknown = run(&["completions", "tcsh"]).expect_code(2);
    assert!(unknown.stderr.contains("possible values"), "{unknown}");
}
