//! The settings as command line flags.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::table::{self, CONFIG_VARIABLE, Setting};

/// What the command line says about the settings.
#[derive(Debug, Clone, Default)]
pub struct SettingFlags {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The settings that were given, with their values as written.
    pub given: Vec<(&'static Setting, String)>,
}

const CONFIG: &str = "config";

/// The metavar of settings that are on or off.
const YES_OR_NO: &str = "true|false";

impl SettingFlags {
    fn read(matches: &ArgMatches) -> Self {
        let given = table::ALL
            .iter()
            .filter_map(|setting| matches.get_one::<String>(setting.key).map(|text| (*setting, text.clone())))
            .collect();
        Self { config: matches.get_one::<PathBuf>(CONFIG).cloned(), given }
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::read(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::read(matches);
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("PATH")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!("TOML file with settings [env: {CONFIG_VARIABLE}]"));
        command.arg(config).args(table::ALL.iter().map(|setting| flag(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.key);
    // `--insecure` alone says yes.
    let arg = if setting.metavar == YES_OR_NO {
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        arg
    };
    arg.long(setting.flag()).value_name(setting.metavar).action(ArgAction::Set).help_heading("Settings").help(
        format!("{} [default: {}] [env: {}]", setting.help, setting.default_shown(), setting.variable()),
    )
}
