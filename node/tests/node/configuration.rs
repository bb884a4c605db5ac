//! Settings: layers, sources, unknown names, and what each value may be.

use std::{fs, time::Duration};

use clap::{Args, Command, FromArgMatches};
use proptest::prelude::*;
use rollcall_node::config::{ConfigError, Environment, Layers, SettingFlags, Settings, Source, table};
use tempfile::TempDir;

struct Case {
    folder: TempDir,
    environment: Environment,
    flags: Vec<String>,
}

impl Case {
    fn new() -> Self {
        let environment = Environment { variables: Vec::new(), hostname: "host-1".into() };
        Self { folder: TempDir::new().expect("a folder"), environment, flags: vec!["serve".into()] }
    }

    fn file(mut self, toml: &str) -> Self {
        let path = self.folder.path().join("rollcall.toml");
        fs::write(&path, toml).expect("a file");
        self.flags.push(format!("--config={}", path.display()));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.variables.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    fn layers(&self) -> Result<Layers, ConfigError> {
        let command = SettingFlags::augment_args(Command::new("serve"));
        let matches = command.try_get_matches_from(&self.flags).expect("flags");
        let flags = SettingFlags::from_arg_matches(&matches).expect("flags");
        Layers::gather(&flags, &self.environment)
    }

    fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::from_layers(&self.layers()?)
    }

    fn error(&self) -> String {
        let folder = self.folder.path().display().to_string();
        self.settings().expect_err("an error").to_string().replace(&folder, "FOLDER")
    }
}

#[test]
fn the_defaults_are_right_by_themselves() {
    let settings = Case::new().settings().expect("settings");
    assert_eq!(settings.name, "host-1");
    assert_eq!(settings.listen.api.to_string(), "0.0.0.0:7400");
    assert_eq!(settings.listen.device.to_string(), "0.0.0.0:7401");
    assert_eq!(settings.listen.peer.to_string(), "0.0.0.0:7402");
    assert_eq!(settings.listen.http.to_string(), "0.0.0.0:7403");
    assert_eq!(settings.advertise.peer.to_string(), "host-1:7402");
    assert_eq!(settings.advertise.device, None);
    assert_eq!(settings.calls.default_timeout, Duration::from_secs(30));
    assert_eq!(settings.calls.max_timeout, Duration::from_secs(300));
    assert_eq!(settings.calls.max_payload_bytes, 16 * 1024 * 1024);
    assert!(settings.join.is_empty());
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let source = |case: &Case| {
        let effective = case.layers().expect("layers").get(&table::DRAIN_GRACE);
        (effective.text, effective.source.kind())
    };
    let case = Case::new();
    assert_eq!(source(&case), ("30s".into(), "default"));
    let case = case.file("drain_grace = \"40s\"");
    assert_eq!(source(&case), ("40s".into(), "file"));
    let case = case.variable("ROLLCALL_DRAIN_GRACE", "50s");
    assert_eq!(source(&case), ("50s".into(), "env"));
    let case = case.flag("--drain-grace=1m");
    assert_eq!(source(&case), ("1m".into(), "flag"));
}

#[test]
fn every_setting_has_the_same_name_as_flag_variable_and_key() {
    for setting in table::ALL {
        let case = Case::new().file(&format!("{} = \"1\"", setting.key));
        assert_eq!(case.layers().expect("layers").get(setting).source.kind(), "file", "{}", setting.key);
        let name = setting.variable();
        let case = Case::new().variable(&name, "2");
        assert_eq!(case.layers().expect("layers").get(setting).source, Source::Variable(name));
        let case = Case::new().flag(&format!("--{}=3", setting.flag()));
        assert_eq!(case.layers().expect("layers").get(setting).source, Source::Flag(setting.flag()));
    }
}

#[test]
fn the_variable_names_the_file_as_the_flag_does() {
    let case = Case::new();
    let path = case.folder.path().join("other.toml");
    fs::write(&path, "name = \"n7\"").expect("a file");
    let case = case.variable("ROLLCALL_CONFIG", &path.display().to_string());
    assert_eq!(case.settings().expect("settings").name, "n7");
}

#[test]
fn peers_are_a_list_in_the_file_or_separated_by_commas() {
    let listed = Case::new().file("join = [\"a:7402\", \"b:7402\"]").settings().expect("settings");
    let joined = Case::new().flag("--join=a:7402, b:7402").settings().expect("settings");
    assert_eq!(listed.join, joined.join);
    assert_eq!(listed.join.len(), 2);
}

#[test]
fn a_listener_on_one_ip_advertises_it() {
    let settings = Case::new().flag("--peer-addr=127.0.0.1:9000").settings().expect("settings");
    assert_eq!(settings.advertise.peer.to_string(), "127.0.0.1:9000");
    let settings = Case::new().flag("--peer-addr=[::1]:9000").settings().expect("settings");
    assert_eq!(settings.advertise.peer.to_string(), "[::1]:9000");
    let settings = Case::new().flag("--peer-addr=[::]:9000").settings().expect("settings");
    assert_eq!(settings.advertise.peer.to_string(), "host-1:9000");
}

#[test]
fn what_kubernetes_makes_of_a_service_named_rollcall_is_no_setting() {
    let case = Case::new()
        .variable("ROLLCALL_SERVICE_HOST", "10.0.0.1")
        .variable("ROLLCALL_SERVICE_PORT", "7400")
        .variable("ROLLCALL_SERVICE_PORT_API", "7400")
        .variable("ROLLCALL_PORT", "tcp://10.0.0.1:7400")
        .variable("ROLLCALL_PORT_7400_TCP", "tcp://10.0.0.1:7400")
        .variable("ROLLCALL_PORT_7400_TCP_ADDR", "10.0.0.1")
        .variable("ROLLCALL_DEVICE_PORT_7401_TCP_PROTO", "tcp")
        .variable("ROLLCALL_ADDR", "http://127.0.0.1:7400")
        .variable("HOME", "/root");
    case.settings().expect("settings");
}

#[test]
fn errors_name_the_setting_its_source_the_problem_and_what_is_allowed() {
    let cases = [
        (
            Case::new().file("drain_grase = \"1s\""),
            "unknown setting `drain_grase` in FOLDER/rollcall.toml; did you mean `drain_grace`?",
        ),
        (Case::new().file("[api]\naddr = 1"), "unknown setting `api` in FOLDER/rollcall.toml"),
        (
            Case::new().variable("ROLLCALL_JION", "a:1"),
            "unknown setting `ROLLCALL_JION` in the environment; did you mean `ROLLCALL_JOIN`?",
        ),
        (Case::new().variable("ROLLCALL_PORT", "7400"), "unknown setting `ROLLCALL_PORT` in the environment"),
        (
            Case::new().flag("--max-payload=16XiB"),
            "max_payload = `16XiB` from --max-payload: not a size (allowed: 1KiB to 256MiB)",
        ),
        (
            Case::new().flag("--max-payload=1GiB"),
            "max_payload = `1GiB` from --max-payload: out of bounds (allowed: 1KiB to 256MiB)",
        ),
        (
            Case::new().variable("ROLLCALL_API_ADDR", "localhost:7400"),
            "api_addr = `localhost:7400` from $ROLLCALL_API_ADDR: not an IP and a port \
             (allowed: ip:port, such as 0.0.0.0:7400 or [::]:7400)",
        ),
        (
            Case::new().file("join = [\"a:7402\", 3]"),
            "join = `[\"a:7402\", 3]` from FOLDER/rollcall.toml: `3` is not a string \
             (allowed: a string, a number, true, false, or a list of strings)",
        ),
        (
            Case::new().flag("--join=http://a:7402"),
            "join = `http://a:7402` from --join: `http://a:7402`: a host is a name or an IP, not a URL \
             (allowed: host:port, IPv6 in brackets)",
        ),
        (
            Case::new().flag("--join=a:1,a:1"),
            "join = `a:1,a:1` from --join: `a:1` is there twice (allowed: each address once)",
        ),
        (
            Case::new().flag("--isolation=none"),
            "isolation = `none` from --isolation: no such mode (allowed: fence, serve_local, serve_all)",
        ),
        (
            Case::new().flag("--leave-on-stop=voters"),
            "leave_on_stop = `voters` from --leave-on-stop: nobody who could leave (allowed: never, learners)",
        ),
        (
            Case::new().flag("--max-connection-age=10ms"),
            "max_connection_age = `10ms` from --max-connection-age: out of bounds (allowed: 0s, or 1s to 30 days)",
        ),
        (
            Case::new().file("device_trusted_proxies = [\"10.0.0.0/8\", \"10.0.0.1\"]"),
            "device_trusted_proxies = `10.0.0.0/8,10.0.0.1` from FOLDER/rollcall.toml: `10.0.0.1` is no network \
             (allowed: 64 networks at most, by commas, such as 10.0.0.0/8,192.0.2.1/32,2001:db8::/32)",
        ),
        (
            Case::new().flag("--api-trusted-proxies=10.0.0.1/8"),
            "api_trusted_proxies = `10.0.0.1/8` from --api-trusted-proxies: `10.0.0.1/8` has bits beyond its prefix \
             (allowed: 64 networks at most, by commas, such as 10.0.0.0/8,192.0.2.1/32,2001:db8::/32)",
        ),
        (
            Case::new().flag("--log-format=xml"),
            "log_format = `xml` from --log-format: no such format (allowed: text, json)",
        ),
        (
            Case::new().flag("--name=n 1"),
            "name = `n 1` from --name: not a node name (allowed: 1 to 128 letters, digits, `-`, `_` and `.`)",
        ),
        (
            Case::new().flag("--default-timeout=10m"),
            "default_timeout = `10m` from --default-timeout does not go with max_timeout = `5m` from the default: \
             the default must not be longer than the maximum",
        ),
        (
            Case::new().flag("--join=a:1,b:1").flag("--bootstrap-expect=3"),
            "bootstrap_expect = `3` from --bootstrap-expect does not go with join = `a:1,b:1` from --join: \
             `join` lists exactly the founders, this node included; who joins later has 0",
        ),
        (
            Case::new().flag("--device-addr=0.0.0.0:7400"),
            "device_addr = `0.0.0.0:7400` from --device-addr does not go with api_addr = `0.0.0.0:7400` from the \
             default: each listener needs an address of its own",
        ),
    ];
    for (case, expected) in cases {
        assert_eq!(case.error(), expected);
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    let missing = Case::new().flag("--config=/nowhere/rollcall.toml").error();
    assert!(missing.starts_with("cannot read the configuration file /nowhere/rollcall.toml: "), "{missing}");
    let broken = Case::new().file("name = ").error();
    assert!(
        broken.starts_with("the configuration file FOLDER/rollcall.toml is not valid TOML: "),
        "{broken}"
    );
}

/// A line of a file: a setting's name, or something like one, and something like a value.
fn line() -> impl Strategy<Value = String> {
    let names: Vec<_> = table::ALL.iter().map(|setting| setting.key).collect();
    let value = prop_oneof![
        "[0-9]{1,25}(ms|s|m|h|d|days|KiB|MiB|%)?",
        "[-a-z0-9.:,/*_]{0,30}",
        "\\[[0-9a-f:]{0,20}\\]:[0-9]{0,6}",
        any::<String>(),
    ];
    let quoted = prop::sample::select(vec!["", "\"", "'", "[", "\"\"\""]);
    (prop::sample::select(names), value, quoted)
        .prop_map(|(name, value, quote)| format!("{name} = {quote}{value}{quote}\n"))
}

proptest! {
    #[test]
    fn any_text_of_a_file_is_taken_or_refused(lines in prop::collection::vec(line(), 0..4)) {
        let _ = Case::new().file(&lines.concat()).settings();
    }
}
