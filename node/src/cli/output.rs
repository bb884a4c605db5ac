//! Answers for people as tables, for programs as JSON, one document or one line each.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::CliError;

/// In which form answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `--output`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// The form of the answer
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Text)]
    pub output: Form,
}

/// `--watch`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Watch {
    /// Show it again and again, until Ctrl-C; every two seconds unless you say otherwise
    #[arg(
        long,
        value_name = "EVERY",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = humantime::parse_duration
    )]
    pub watch: Option<Duration>,
}

impl Watch {
    /// Shows something once, or again and again: what fails then is said, and tried again.
    ///
    /// # Errors
    /// What it says, if it is shown once.
    pub(super) async fn repeat(
        self,
        mut show: impl AsyncFnMut() -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let Some(every) = self.watch else { return show().await };
        loop {
            if io::stdout().is_terminal() {
                print(CLEAR)?;
            }
            if let Err(error) = show().await {
                eprintln!("rollcall: {error}");
            }
            tokio::time::sleep(every).await;
        }
    }
}

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// A table without lines; empty cells show as a dash.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Names and values under each other.
pub(super) fn facts<const N: usize>(facts: [(&str, String); N]) -> String {
    let widest = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = facts.map(|(name, value)| {
        let value = if value.is_empty() { "-" } else { &value };
        format!("{name:<widest$}  {value}")
    });
    lines.join("\n")
}

/// Prints a line to stdout. A reader who has gone is no error.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Prints a document.
pub(super) fn print_json(value: &Value) -> io::Result<()> {
    print(&format!("{value:#}"))
}
