//! `rollcall config print`: the effective settings, each with where it came from.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    CliError,
    output::{self, Form, Output},
};
use crate::config::{Environment, Layers, SettingFlags, Settings, Source, table};

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the effective settings, as `serve` with the same flags would have them.
    Print(Print),
}

/// `rollcall config print`.
#[derive(Debug, Args)]
pub struct Print {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    flags: SettingFlags,
}

impl Config {
    pub(super) fn run(self) -> Result<(), CliError> {
        let Self::Print(print) = self;
        let layers = Layers::gather(&print.flags, &Environment::of_process())?;
        output::print(&printed(&layers, print.output.output))?;
        // Printed first: who asks why something is wrong wants to see the rest too.
        Settings::from_layers(&layers)?;
        Ok(())
    }
}

/// All settings in this form.
pub(super) fn printed(layers: &Layers, form: Form) -> String {
    let all = table::ALL.iter().map(|setting| (setting, layers.get(setting)));
    match form {
        Form::Json => {
            let settings: Vec<Value> = all
                .map(|(setting, effective)| {
                    let origin = match &effective.source {
                        Source::Default => Value::Null,
                        Source::File(path) => path.display().to_string().into(),
                        Source::Variable(name) => name.as_str().into(),
                        Source::Flag(name) => format!("--{name}").into(),
                    };
                    let kind = effective.source.kind();
                    json!({"setting": setting.key, "value": effective.text, "source": kind, "origin": origin})
                })
                .collect();
            format!("{:#}", Value::from(settings))
        }
        Form::Text => {
            let rows = all.map(|(setting, effective)| {
                let origin = match &effective.source {
                    Source::Default => "default".to_owned(),
                    other => format!("{} {other}", other.kind()),
                };
                [setting.key.to_owned(), effective.text, origin]
            });
            output::table(["setting", "value", "from"], rows)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Layers {
        let environment = Environment {
            variables: vec![("ROLLCALL_DRAIN_GRACE".into(), "10s".into())],
            hostname: "host-1".into(),
        };
        let given = vec![(&table::NAME, "n1".to_owned()), (&table::PEER_ADDR, "127.0.0.1:7402".to_owned())];
        Layers::gather(&SettingFlags { config: None, given }, &environment).expect("layers")
    }

    #[test]
    fn settings_print_as_a_table_with_their_sources() {
        let expected = include_str!("config_print.golden");
        assert_eq!(printed(&layers(), Form::Text).trim_end(), expected.trim_end());
    }

    #[test]
    fn settings_print_as_json_with_their_sources() {
        let printed: Vec<Value> = serde_json::from_str(&printed(&layers(), Form::Json)).expect("JSON");
        assert_eq!(printed.len(), table::ALL.len());
        let expected = json!({
            "setting": "drain_grace", "value": "10s", "source": "env", "origin": "ROLLCALL_DRAIN_GRACE",
        });
        assert!(printed.contains(&expected), "{printed:#?}");
        let expected =
            json!({"setting": "data_dir", "value": "/var/lib/rollcall", "source": "default", "origin": null});
        assert!(printed.contains(&expected), "{printed:#?}");
    }
}
