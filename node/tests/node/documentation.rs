//! What the documents say is what the program does.

use std::{collections::BTreeMap, fmt::Write};

use clap::CommandFactory;
use rollcall_node::{api::status, cli::Cli, config::table};
use rollcall_router::{Outcome, Reason};

use super::support::node::TestNode;

const OPERATING: &str = include_str!("../../docs/operating.md");
const METRICS: &str = include_str!("../../docs/metrics.md");
const DECLARED: [&str; 4] = [
    include_str!("../../../proto/transport/src/metrics.rs"),
    include_str!("../../src/telemetry/metric_names.rs"),
    include_str!("../../../registry/src/metrics.rs"),
    include_str!("../../../router/src/metrics.rs"),
];
const CALLING: &str = include_str!("../../../proto/docs/calling.md");

/// The part of a document between these markers.
fn part<'a>(document: &'a str, name: &str) -> &'a str {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let after = document.split_once(&begin).expect("the begin marker").1;
    after.split_once(&end).expect("the end marker").0
}

#[test]
fn the_settings_table_is_the_programs() {
    let mut expected =
        String::from("| setting | default | what it does | why this default |\n|---|---|---|---|\n");
    for setting in table::ALL {
        let default = match setting.default {
            table::DefaultValue::Text(text) if !text.is_empty() => format!("`{text}`"),
            _ => setting.default_shown(),
        };
        writeln!(expected, "| `{}` | {default} | {} | {} |", setting.key, setting.help, setting.reason)
            .expect("a line");
    }
    let written = part(OPERATING, "settings");
    assert!(written == expected, "node/docs/operating.md should have between its markers:\n{expected}");
}

#[test]
fn the_reasons_table_is_the_programs() {
    let mut expected = String::from("| reason | code when not executed | code otherwise |\n|---|---|---|\n");
    for reason in Reason::ALL {
        let [not_executed, otherwise] = [Outcome::NotExecuted, Outcome::Unknown].map(|outcome| {
            let code = status::code(reason, outcome);
            format!("{code:?}")
        });
        writeln!(expected, "| `{reason}` | {not_executed} | {otherwise} |").expect("a line");
    }
    let written = part(CALLING, "reasons");
    assert!(written == expected, "proto/docs/calling.md should have between its markers:\n{expected}");
}

/// The commands below one, by their whole names, with what each does.
fn commands_below(command: &clap::Command, before: &str, found: &mut String) {
    let name = format!("{before}{}", command.get_name());
    let below: Vec<_> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
    for below in &below {
        commands_below(below, &format!("{name} "), found);
    }
    if below.is_empty() {
        let arguments = command.get_positionals().fold(String::new(), |text, argument| {
            let named = argument.get_value_names().and_then(|names| names.first());
            let word =
                named.map_or_else(|| argument.get_id().to_string().to_uppercase(), ToString::to_string);
            text + &if argument.is_required_set() { format!(" {word}") } else { format!(" [{word}]") }
        });
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(found, "| `{name}{arguments}` | {} |", about.trim_end_matches('.')).expect("a line");
    }
}

#[test]
fn the_list_of_commands_is_the_programs() {
    let mut expected = String::from("| command | what it does |\n|---|---|\n");
    commands_below(&Cli::command(), "", &mut expected);
    let written = part(OPERATING, "commands");
    assert!(written == expected, "node/docs/operating.md should have between its markers:\n{expected}");
}

/// A metric as the document has it.
struct Documented {
    kind: String,
    labels: String,
    help: String,
}

/// The document's metrics by their names. Twice there is an error.
fn documented() -> BTreeMap<String, Documented> {
    let mut metrics = BTreeMap::new();
    for row in part(METRICS, "metrics").lines().skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else { panic!("not four cells: {row}") };
        let documented = Documented { kind: kind.into(), labels: labels.into(), help: help.into() };
        let former = metrics.insert(name.trim_matches('`').to_owned(), documented);
        assert!(former.is_none(), "{name} is there twice");
    }
    metrics
}

#[test]
fn every_declared_metric_is_documented_and_no_other() {
    let mut declared = Vec::new();
    for line in DECLARED.iter().flat_map(|source| source.lines()) {
        let Some((_, text)) = line.split_once(": &str = \"") else { continue };
        let name = text.trim_end_matches("\";");
        if ["rollcall_", "grpc_server_", "process_"].iter().any(|prefix| name.starts_with(prefix)) {
            declared.push(name);
        }
    }
    declared.sort_unstable();
    let written: Vec<String> = documented().into_keys().collect();
    assert_eq!(
        written, declared,
        "node/docs/metrics.md has the left ones, the crates declare the right ones"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_shows_is_in_the_catalogue() {
    let node = TestNode::ready(&[]).await;
    node.wait_for_page("/metrics", "200 OK", "#").await;
    let (_, page) = node.page("/metrics").await;
    let catalogue = documented();
    let mut shown = 0;
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help text");
            let known =
                catalogue.get(name).unwrap_or_else(|| panic!("{name} is not in node/docs/metrics.md"));
            assert_eq!(known.help, help, "{name}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a kind");
            assert_eq!(catalogue[name].kind, kind, "{name}");
            shown += 1;
        } else if let Some((name, labels)) = line.split_once('{') {
            let family =
                ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.trim_end_matches(end));
            let known = catalogue.get(family).or_else(|| catalogue.get(name)).expect(name);
            let (labels, _) = labels.rsplit_once('}').expect("the end of the labels");
            for (label, _) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
                assert!(
                    label == "le" || known.labels.contains(&format!("`{label}`")),
                    "{name} has the label {label}"
                );
            }
        }
    }
    assert!(shown > 30, "{page}");
    node.stop();
    node.ended().await.expect("a clean end");
}
