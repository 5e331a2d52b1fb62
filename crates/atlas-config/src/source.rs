//! Where settings are read from.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::SettingError;

/// Something that has named values.
pub trait Source {
    /// The value of a name. An empty or blank value counts as not set: `NAME=` is how compose
    /// files and charts write "nothing".
    fn get(&self, name: &str) -> Result<Option<String>, SettingError>;

    /// Every name that has a value, for finding misspelt ones.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct Environment;

impl Source for Environment {
    fn get(&self, name: &str) -> Result<Option<String>, SettingError> {
        let value = std::env::var_os(name).map(OsString::into_string).transpose();
        Ok(filled(value.map_err(|_| SettingError::NotText { name: name.to_owned() })?))
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }
}

impl Source for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Result<Option<String>, SettingError> {
        Ok(filled(BTreeMap::get(self, name).map(|value| (*value).to_owned())))
    }

    fn names(&self) -> Vec<String> {
        self.keys().map(|name| (*name).to_owned()).collect()
    }
}

fn filled(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
