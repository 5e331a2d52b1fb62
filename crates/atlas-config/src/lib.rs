//! Settings from the environment, as one immutable snapshot.
//!
//! This crate is the only reader of the environment: everything else receives a [`Settings`].
//! [`SETTINGS`] lists every variable with its default and meaning; help texts are printed from
//! it, and a test checks that reading asks for nothing that is not listed.
//!
//! Names of providers and engines are kept as they were written: which of them exist is known
//! to the plugs, and only the binary knows the plugs.
//!
//! Not here: what a setting does, and whether a key or model works. That is asked of the
//! provider by the connection test.

mod error;
mod list;
mod read;
mod settings;
mod source;

pub use error::SettingError;
pub use list::{SETTINGS, SettingDoc};
pub use secrecy::{ExposeSecret, SecretString};
pub use settings::{
    BedrockSettings, ByocSettings, ControlPlaneSettings, EmbeddingSettings, LogFormat, Origin, Settings,
};
pub use source::{Environment, Source};

#[cfg(test)]
mod tests;
