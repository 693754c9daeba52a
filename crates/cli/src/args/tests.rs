#![allow(clippy::unwrap_used)]

use bson::{Bson, doc, oid::ObjectId};
use clap::{CommandFactory, Parser};

use super::*;
use crate::environment::Environment;
use crate::failure::Exit;
use crate::time::TimeSpec;

fn parse(line: &[&str]) -> Result<Command, clap::Error> {
    Cli::try_parse_from([&["backstay"], line].concat()).map(|cli| cli.command)
}

fn restore(line: &[&str]) -> RestoreArgs {
    match parse(&[&["restore", "shop"], line].concat()).unwrap() {
        Command::Restore(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_declaration_is_sound() {
    Cli::command().debug_assert();
}

/// One rule, no exception: `--on-conflict` is `BACKSTAY_ON_CONFLICT`, and no value of a variable is shown in help.
#[test]
fn every_flag_has_its_variable() {
    fn check(command: &clap::Command) {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            if matches!(long, "help" | "version") {
                continue;
            }
            let expected = format!("BACKSTAY_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().and_then(|v| v.to_str()), Some(expected.as_str()), "{}", command.get_name());
            assert!(arg.is_hide_env_values_set(), "--{long} of {}", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn a_time_before_now_is_no_flag() {
    let args = restore(&["--at", "-2h", "--in-place"]);
    assert_eq!(args.at, TimeSpec::Ago(7_200));
    assert!(args.target.in_place && !args.preview && !args.yes);
    assert_eq!(args.target.on_conflict, OnConflict::Abort);
}

#[test]
fn a_selection_takes_several_of_each() {
    let line = [
        "--at",
        "latest",
        "--tenant",
        "t1",
        "--tenant",
        "t2",
        "--ns",
        "shop.*",
        "--id",
        "-5",
        "--id",
        "o-1",
        "--where",
        r#"{"b": 1, "a": {"$gt": 2}}"#,
        "--in-place",
    ];
    let selection = restore(&line).selection;
    assert_eq!(selection.tenants, ["t1", "t2"]);
    assert!(selection.selects_namespace("shop.orders") && !selection.selects_namespace("else.orders"));
    assert_eq!(selection.ids, [ExtJson(Bson::Int32(-5)), ExtJson(Bson::String("o-1".into()))]);
    assert_eq!(selection.filter, Some(Filter(doc! {"b": 1, "a": {"$gt": 2}})));
    assert_eq!(selection.describe(), r#"records -5, "o-1" of tenants t1, t2 in shop.* where {"b":1,"a":{"$gt":2}}"#);
    let words = |args: &[&str]| restore(&[&["--at", "latest"], args].concat()).selection.describe();
    assert_eq!(words(&["--id", "4700", "--tenant", "acme"]), "record 4700 of tenant acme");
    assert_eq!(words(&["--ns", "shop.orders"]), "everything in shop.orders");
    assert_eq!(SelectionArgs::default().describe(), "everything");
}

#[test]
fn ids_are_extended_json_in_their_order() {
    let id = |text: &str| text.parse::<ExtJson>();
    let oid = "65f1a3b4c5d6e7f8091a2b3c";
    assert_eq!(id(&format!(r#"{{"$oid": "{oid}"}}"#)), Ok(ExtJson(ObjectId::parse_str(oid).unwrap().into())));
    assert_eq!(id(r#"{"z": 1, "a": 2}"#), Ok(ExtJson(bson::bson!({"z": 1, "a": 2}))));
    assert_eq!(id("4711"), Ok(ExtJson(Bson::Int32(4711))));
    assert_eq!(id(r#""4711""#), Ok(ExtJson(Bson::String("4711".into()))));
    for wrong in ["", "{", r#"{"$oid": "12"}"#, "'x'", "a b"] {
        assert!(id(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_restore_says_where_it_goes() {
    let nowhere = restore(&["--at", "latest"]).target.destination(&Environment::default()).unwrap_err();
    assert_eq!(nowhere.exit, Exit::Usage);
    let by_variable = Environment::from_iter([("BACKSTAY_INTO_COMMAND", "printf mongodb://10.0.0.9")]);
    let destination = restore(&["--at", "latest"]).target.destination(&by_variable).unwrap();
    assert!(matches!(destination, Destination::Into(uri) if uri.expose() == "mongodb://10.0.0.9"));
    let both = ["restore", "shop", "--at", "latest", "--in-place", "--into", "mongodb://10.0.0.9"];
    assert!(parse(&both).is_err());
    assert!(parse(&["restore", "shop", "--in-place"]).is_err(), "a restore needs its time");
}

#[test]
fn a_rename_pairs_like_with_like() {
    let rename = |text: &str| text.parse::<Rename>();
    assert_eq!(rename("shop.a=old.a").unwrap().apply("shop.a"), Some("old.a".into()));
    assert_eq!(rename("shop.a=old.a").unwrap().apply("shop.ab"), None);
    assert_eq!(rename("shop.*=old.*").unwrap().apply("shop.a.b"), Some("old.a.b".into()));
    assert_eq!(rename("shop.*=old.*").unwrap().apply("shopping.a"), None);
    assert_eq!(rename("shop.*=old.*").unwrap().to_string(), "shop.*=old.*");
    for wrong in ["", "a", "a=b", "shop.*=old.a", "shop.a=old.*", "shop.a*=old.b*", "*.a=b.a", "shop.a="] {
        assert!(rename(wrong).is_err(), "{wrong}");
    }
    for servers_own in ["shop.a=admin.a", "shop.*=config.*", "shop.a=local.b", "shop.a=shop.system.users"] {
        assert!(rename(servers_own).unwrap_err().contains("server's own"), "{servers_own}");
    }
    assert_eq!(rename("shop.ts=old.ts").unwrap().apply("shop.system.buckets.ts"), Some("old.system.buckets.ts".into()));
    assert!(rename("shop.system.buckets.ts=old.ts").unwrap_err().contains("write shop.ts="));
}

#[test]
fn the_parts_of_a_sample_make_up_the_whole() {
    let sample = |text: &str| text.parse::<Sample>();
    for index in 0..20 {
        let takers = (1..=7).filter(|part| sample(&format!("{part}/7")).unwrap().takes(index)).count();
        assert_eq!(takers, 1);
    }
    for wrong in ["", "0/7", "8/7", "1/0", "1", "a/b", "-1/7"] {
        assert!(sample(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn capture_and_diff_know_words_of_their_own() {
    assert_eq!("now".parse(), Ok(Until::Now));
    assert_eq!("-1h".parse(), Ok(Until::Time(TimeSpec::Ago(3_600))));
    assert!("latest".parse::<Until>().is_err());
    assert_eq!("live".parse(), Ok(DiffEnd::Live));
    assert_eq!("latest".parse(), Ok(DiffEnd::At(TimeSpec::Latest)));
}
