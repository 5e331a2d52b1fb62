//! What the list says of one setting.

use serde::Serialize;

use crate::SETTINGS;

/// What one setting means.
#[derive(Debug, Clone, Copy)]
pub struct SettingDoc {
    /// The variable, and the name of its file in a settings directory.
    pub name: &'static str,
    /// The value when it is not set; empty: none.
    pub default: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Whether a change takes effect while the server runs. Otherwise it waits for a restart.
    pub live: bool,
    /// The form of its value.
    pub form: Form,
    /// What it belongs to.
    pub group: Group,
    /// One sentence for help texts.
    pub doc: &'static str,
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// A path that is used as it is.
    Path,
    /// A path whose file is read together with the settings and watched with them.
    Content,
    /// An http or https URL.
    Url,
    /// An IP address and a port.
    Address,
    /// `true` or `false`, `1` or `0`.
    Switch,
    /// Text that is compared byte for byte, with its spaces.
    Exact,
    /// A whole number between two others.
    Number(u32, u32),
    /// Seconds, or a number with `s` or `m`.
    Duration,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

impl Form {
    /// The type's name in the schema and in help texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Path => "path",
            Self::Content => "file",
            Self::Url => "url",
            Self::Address => "address",
            Self::Switch => "switch",
            Self::Exact => "exact text",
            Self::Number(..) => "number",
            Self::Duration => "duration",
            Self::OneOf(_) => "word",
        }
    }
}

/// What a setting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The process itself.
    Server,
    /// The chat provider.
    Provider,
    /// How connections are made.
    Network,
    /// The embedding engine.
    Embedding,
    /// The control plane and what it sells.
    ControlPlane,
    /// Set by the container platform, under names that are not ours to choose.
    Platform,
}

impl SettingDoc {
    /// The setting with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// The setting whose value may stand in a file that the variable `name` points to:
    /// `BYOC_API_KEY` for `BYOC_API_KEY_FILE`. The platform's variables have no such form; some
    /// of them end in `_FILE` in their own right.
    pub fn find_by_file(name: &str) -> Option<&'static Self> {
        if Self::find(name).is_some() {
            return None;
        }
        Self::find(name.strip_suffix("_FILE")?).filter(|setting| setting.may_be_in_file())
    }

    /// Whether `<NAME>_FILE` is understood. Not where the sources themselves are named, because
    /// those are read before any file is, and not where the value is a file already.
    pub fn may_be_in_file(&self) -> bool {
        self.group != Group::Platform && self.form != Form::Content && !self.names_a_source()
    }

    /// Whether it says where settings are read from, which only the process environment can.
    pub fn names_a_source(&self) -> bool {
        matches!(self.name, "TP_SETTINGS_DIR" | "TP_ENV_FILE")
    }
}
