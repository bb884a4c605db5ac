//! Layers of settings: defaults, then the file, then variables, then flags; each value keeps where it came from.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use super::{
    BadValue, ConfigError, HostPort, SettingFlags,
    table::{self, COMMAND_VARIABLES, CONFIG_VARIABLE, DefaultValue, Setting, VARIABLE_PREFIX},
};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said otherwise.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// A variable of this name.
    Variable(String),
    /// A flag of this name.
    Flag(String),
}

impl Source {
    /// The kind of source in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File(_) => "file",
            Self::Variable(_) => "env",
            Self::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// What the process knows of its surroundings; a value, so that tests need none of the real ones.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The environment's variables.
    pub variables: Vec<(String, String)>,
    /// The machine's host name.
    pub hostname: String,
}

impl Environment {
    /// The real one. Variables that are not UTF-8 cannot name a setting and are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { variables, hostname }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A setting's value as it was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// As it was written.
    pub text: String,
    /// Where.
    pub source: Source,
}

/// Every setting's value with its source; each value is text that is not yet judged.
#[derive(Debug, Clone)]
pub struct Layers {
    values: BTreeMap<&'static str, Effective>,
}

impl Layers {
    /// Gathers all layers.
    ///
    /// # Errors
    /// A file that cannot be read, and names in it or in the environment that are no setting's.
    pub fn gather(flags: &SettingFlags, environment: &Environment) -> Result<Self, ConfigError> {
        let mut layers = Self { values: BTreeMap::new() };
        let config =
            flags.config.clone().or_else(|| environment.variable(CONFIG_VARIABLE).map(PathBuf::from));
        if let Some(path) = config {
            layers.add_file(&path)?;
        }
        layers.add_variables(environment)?;
        for (setting, text) in &flags.given {
            layers.set(setting, text.clone(), Source::Flag(setting.flag()));
        }
        layers.add_defaults(environment);
        Ok(layers)
    }

    /// What a file of this text says, over the defaults. Reads no file.
    ///
    /// # Errors
    /// A text that is no TOML, and names in it that are no setting's.
    pub fn of_file(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let mut layers = Self { values: BTreeMap::new() };
        layers.add_text(path, text)?;
        layers.add_defaults(environment);
        Ok(layers)
    }

    /// A setting's value.
    pub fn get(&self, setting: &Setting) -> Effective {
        self.values
            .get(setting.key)
            .cloned()
            .unwrap_or(Effective { text: String::new(), source: Source::Default })
    }

    /// A setting's value, judged.
    ///
    /// # Errors
    /// What `parse` says, with the key and the source.
    pub fn parsed<T>(
        &self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, BadValue>,
    ) -> Result<T, ConfigError> {
        let Effective { text, source } = self.get(setting);
        parse(&text).map_err(|bad| ConfigError::Value { key: setting.key, value: text, origin: source, bad })
    }

    fn set(&mut self, setting: &Setting, text: String, source: Source) {
        self.values.insert(setting.key, Effective { text, source });
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
        self.add_text(path, &text)
    }

    fn add_text(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| ConfigError::NotToml {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })?;
        let source = Source::File(path.to_owned());
        for (name, value) in table {
            let Some(setting) = table::find(&name) else {
                return Err(unknown(name, path.display().to_string(), |setting| setting.key.to_owned()));
            };
            let text = written(&value).map_err(|bad| ConfigError::Value {
                key: setting.key,
                value: value.to_string(),
                origin: source.clone(),
                bad,
            })?;
            self.set(setting, text, source.clone());
        }
        Ok(())
    }

    fn add_variables(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        for (name, text) in &environment.variables {
            if !name.starts_with(VARIABLE_PREFIX) || is_no_setting(name, text) {
                continue;
            }
            let setting = table::ALL.iter().find(|setting| setting.variable() == *name);
            let Some(setting) = setting else {
                return Err(unknown(name.clone(), "the environment".into(), Setting::variable));
            };
            self.set(setting, text.clone(), Source::Variable(name.clone()));
        }
        Ok(())
    }

    fn add_defaults(&mut self, environment: &Environment) {
        for setting in table::ALL {
            if self.values.contains_key(setting.key) {
                continue;
            }
            let text = match setting.default {
                DefaultValue::Text(text) => text.to_owned(),
                DefaultValue::Hostname => environment.hostname.clone(),
                DefaultValue::Advertised(listener) => {
                    HostPort::advertised(&self.get(listener).text, &environment.hostname)
                }
            };
            self.set(setting, text, Source::Default);
        }
    }
}

/// A file's value as it would be written in a variable.
fn written(value: &toml::Value) -> Result<String, BadValue> {
    const ALLOWED: &str = "a string, a number, true, false, or a list of strings";
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(yes) => Ok(yes.to_string()),
        toml::Value::Array(items) => {
            let items: Result<Vec<_>, _> = items
                .iter()
                .map(|item| {
                    item.as_str().ok_or_else(|| BadValue::new(format!("`{item}` is not a string"), ALLOWED))
                })
                .collect();
            Ok(items?.join(","))
        }
        toml::Value::Table(_) => Err(BadValue::new("settings are not grouped in tables", ALLOWED)),
        toml::Value::Float(_) | toml::Value::Datetime(_) => {
            Err(BadValue::new(format!("a {} is not expected", value.type_str()), ALLOWED))
        }
    }
}

/// Variables with our prefix that mean something else: those of the commands, and those that Kubernetes makes for each Service.
///
/// A Service named `rollcall` or `rollcall-api` gives every pod `ROLLCALL_PORT=tcp://…`, `ROLLCALL_API_SERVICE_HOST=…`
/// and so on: <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
fn is_no_setting(name: &str, text: &str) -> bool {
    let of_service = name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.contains("_PORT_") && name.split('_').any(|part| matches!(part, "TCP" | "UDP" | "SCTP"))
        || name.ends_with("_PORT") && text.contains("://");
    name == CONFIG_VARIABLE || COMMAND_VARIABLES.contains(&name) || of_service
}

/// More than this many wrong letters are no slip of the pen.
const MOST_EDITS: usize = 3;

fn unknown(name: String, place: String, spelling: impl Fn(&Setting) -> String) -> ConfigError {
    let key = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(&name).to_lowercase();
    let nearest = table::ALL
        .iter()
        .map(|setting| (strsim::damerau_levenshtein(setting.key, &key), setting))
        .filter(|(edits, setting)| *edits <= MOST_EDITS.min(setting.key.len() / 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, setting)| spelling(setting));
    ConfigError::Unknown { name, place, nearest }
}
