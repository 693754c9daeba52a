#![allow(clippy::unwrap_used)]

use super::*;

const EXAMPLE: &str = include_str!("../../tests/fixtures/backstay.yaml");

/// Reads `yaml` as if it were in the folder `/etc/b`.
fn inspect(yaml: &str, variables: &[(&str, &str)]) -> (Option<Config>, Vec<Problem>) {
    let environment = Environment::from_iter(variables.iter().copied());
    match sections::parse(yaml, "backstay.yaml") {
        Ok(sections) => check::check(sections, Path::new("/etc/b/backstay.yaml"), &environment).unwrap(),
        Err(problem) => (None, vec![problem]),
    }
}

fn sound(yaml: &str, variables: &[(&str, &str)]) -> Config {
    let (config, problems) = inspect(yaml, variables);
    assert_eq!(problems, []);
    config.unwrap()
}

fn problems(yaml: &str) -> Vec<String> {
    inspect(yaml, &[]).1.iter().map(ToString::to_string).collect()
}

#[test]
fn the_example_of_the_contract_works_as_it_stands() {
    let config = sound(EXAMPLE, &[]);
    assert_eq!(config.repository.place(), "/etc/b/./archive");
    assert_eq!(config.keyring.file, Path::new("/etc/b/./backstay.keys"));
    let shop = config.source("shop").unwrap();
    assert_eq!(shop.uri.read().unwrap().expose(), "mongodb://127.0.0.1:27017/?replicaSet=rs0");
    assert_eq!(shop.include.iter().map(NamespacePattern::as_str).collect::<Vec<_>>(), ["shop.*", "tenant_*.*"]);
    assert_eq!(
        shop.tenants,
        [
            TenantRule::Field { ns: "shop.*".parse().unwrap(), path: "tenant".into() },
            TenantRule::Database { pattern: "tenant_{id}.*".into() },
            TenantRule::Fixed { ns: "*".parse().unwrap(), tenant: "shared".into() },
        ]
    );
    let missing = config.source("shpo").unwrap_err();
    assert_eq!(missing.hint.as_deref(), Some("its sources are: shop"));
}

#[test]
fn variables_win_over_the_file() {
    let config = sound(
        EXAMPLE,
        &[
            ("BACKSTAY_REPOSITORY_URL", "file:here"),
            ("BACKSTAY_KEYRING_FILE", "keys"),
            ("BACKSTAY_SOURCES_SHOP_URI", "mongodb://10.0.0.9"),
            ("BACKSTAY_PASSPHRASE", "open"),
        ],
    );
    assert_eq!(config.repository.place(), "here");
    assert_eq!(config.keyring.file, Path::new("keys"));
    assert_eq!(config.keyring.passphrase.unwrap().read().unwrap().expose(), "open");
    assert_eq!(config.sources["shop"].uri.read().unwrap().expose(), "mongodb://10.0.0.9");
}

#[test]
fn a_secret_need_not_be_in_the_file() {
    let yaml = "repository: {url: 'file:///a'}\nsources:\n  a-b: {kind: mongodb, uri_command: printf mongodb://x}\n";
    let config = sound(yaml, &[]);
    assert_eq!(config.repository.place(), "/a");
    assert_eq!(config.keyring.file, Path::new("/etc/b/backstay.keys"));
    assert_eq!(config.sources["a-b"].uri.read().unwrap().expose(), "mongodb://x");
    let shown = View::of(&config).to_yaml().unwrap();
    assert!(shown.contains("from a command (sources.a-b.uri_command)") && !shown.contains("printf"), "{shown}");
    let config = sound(yaml, &[("BACKSTAY_SOURCES_A_B_URI", "mongodb://ann:pw@y/")]);
    let shown = View::of(&config).to_yaml().unwrap();
    assert!(shown.contains("mongodb://ann:***@y/") && !shown.contains("pw"), "{shown}");
}

#[test]
fn a_bucket_takes_its_settings_from_the_file_and_from_variables() {
    use backstay_store::Credentials;
    let yaml = "
repository:
  url: s3://bucket/a
  endpoint: https://minio.internal:9000
  access_key_id: in-the-file
  secret_access_key_command: printf hidden
  limits: {mbytes_per_second: 2.5}
sources: {a: {kind: mongodb, uri: mongodb://x}}
";
    let variables = [
        ("BACKSTAY_REPOSITORY_ACCESS_KEY_ID", "ann"),
        ("BACKSTAY_REPOSITORY_LIMITS_REQUESTS_PER_SECOND", "40"),
        ("AWS_REGION", "eu-central-1"),
        ("AZURE_CLIENT_ID", "another's"),
    ];
    let config = sound(yaml, &variables);
    assert_eq!(config.repository.place(), "s3://bucket/a");
    let Repository::Bucket(bucket) = &config.repository else { panic!("{:?}", config.repository) };
    let settings = bucket.settings().unwrap();
    assert!(
        matches!(&settings.credentials, Credentials::Keys { id, secret, token: None } if id == "ann" && secret == "hidden")
    );
    assert_eq!((settings.limits.requests_per_second, settings.limits.bytes_per_second), (Some(40.0), Some(2.5e6)));
    assert_eq!(settings.variables, [("AWS_REGION".to_owned(), "eu-central-1".to_owned())]);
    let shown = View::of(&config).to_yaml().unwrap();
    assert!(shown.contains("from a command (repository.secret_access_key_command)"), "{shown}");
    assert!(!shown.contains("hidden") && !shown.contains("in-the-file"), "{shown}");

    let yaml = "
repository: {url: 'az://container', account: shop, sas_token: sv=1}
sources: {a: {kind: mongodb, uri: mongodb://x}}
";
    let config = sound(yaml, &[]);
    let Repository::Bucket(bucket) = &config.repository else { panic!("{:?}", config.repository) };
    let settings = bucket.settings().unwrap();
    assert!(matches!(settings.credentials, Credentials::Account { key: None, sas: Some(_), .. }));
    assert!(!format!("{settings:?}").contains("sv=1"));
}

#[test]
fn every_problem_is_named_with_its_place() {
    let yaml = "
repository: {url: 's3://bucket/a', access_key_id: a, sas_token: b, limits: {requests_per_second: 0}}
keyring: {passphrase_file: a, passphrase_command: b}
sources:
  a_b: {kind: mongodb, uri: 'http://x'}
  a-b: {kind: mongodb}
  'c d': {kind: mongodb, uri: mongodb://x, uri_file: y}
";
    assert_eq!(
        problems(yaml),
        [
            "repository.sas_token: it means nothing for s3://",
            "repository.access_key_id: it goes together with secret_access_key",
            "repository.limits.requests_per_second: it is not a number above 0",
            "keyring: both keyring.passphrase_file and keyring.passphrase_command are set; keep one of them",
            "sources.a_b: its variable BACKSTAY_SOURCES_A_B_URI is that of the source a-b as well",
            "sources.c d: a source's name is 1 to 63 letters, digits, hyphens and underscores",
            "sources.a-b.uri: it is not said where the database is; add uri, or set BACKSTAY_SOURCES_A_B_URI",
            "sources.a_b.uri: the URI does not begin with mongodb:// or mongodb+srv://",
            "sources.c d: both sources.c d.uri and sources.c d.uri_file are set; keep one of them",
        ]
    );
    assert_eq!(problems("{}").len(), 2);
    for url in ["./archive", "file:", "file://host/a", "ftp://x"] {
        assert_eq!(problems(&EXAMPLE.replace("file:./archive", url)).len(), 1, "{url}");
    }
}

#[test]
fn a_misspelt_setting_is_shown_where_it_stands() {
    let yaml = "sources:\n  shop:\n    kind: mongodb\n    url: mongodb://ann:pw@h/\n";
    let said = problems(yaml).concat();
    assert!(said.contains("url") && said.contains("uri_file") && said.contains("4"), "{said}");
    assert!(!said.contains("pw@"), "{said}");
    let rule = problems(&EXAMPLE.replace("field: tenant", "feild: tenant")).concat();
    assert!(rule.contains("feild"), "{rule}");
}

#[test]
fn changes_are_committed_every_second_or_as_it_is_said() {
    assert_eq!(sound(EXAMPLE, &[]).sources["shop"].commit_every_ms, 1000);
    let every = |ms: u64| EXAMPLE.replace("    tenants:", &format!("    commit_every_ms: {ms}\n    tenants:"));
    assert_eq!(sound(&every(5000), &[]).sources["shop"].commit_every_ms, 5000);
    let wrong = "sources.shop.commit_every_ms: it is not between 100 and 600000 (ten minutes)";
    assert_eq!(problems(&every(99)), [wrong]);
    assert_eq!(problems(&every(600_001)), [wrong]);
}
