//! What the documents say is what the program does.

use std::fmt::Write;

use rollcall_node::{api::status, config::table};
use rollcall_router::{Outcome, Reason};

const OPERATING: &str = include_str!("../../docs/operating.md");
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
