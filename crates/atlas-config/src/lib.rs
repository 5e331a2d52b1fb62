//! Settings from a mounted directory, a `.env`-style file and the environment, as immutable
//! snapshots that change while the server runs.
//!
//! This crate is the only reader of the environment: everything else receives [`Settings`], from
//! [`Live`] where it runs for long. [`SETTINGS`] lists every setting with its default and meaning;
//! help texts are printed from it, and a test checks that reading asks for nothing that is not
//! listed.
//!
//! Names of providers and engines are kept as they were written: which of them exist is known
//! to the plugs, and only the binary knows the plugs. Files that settings point to are bytes
//! here, for the same reason.
//!
//! Not here: what a setting does, and whether a key or model works. That is asked of the
//! provider by the connection test.

mod error;
mod forms;
mod list;
mod live;
mod read;
mod reader;
mod settings;
mod show;
mod source;
mod sources;
mod table;
mod value;

pub use error::{SettingError, SettingErrors};
pub use list::{Form, Group, SettingDoc};
pub use live::{Live, Outcome, Overrides, Refusal, Rejected, SettingsStatus, Snapshot};
pub use read::{fail_open_warning, unknown_names};
pub use secrecy::{ExposeSecret, SecretString};
pub use settings::{
    ApiChoice, AwsEnvironment, BedrockSettings, ByocSettings, ClientIdentityFiles, ControlPlaneSettings,
    Deployment, EgressMode, EmbeddingSettings, FeatureModels, LogFormat, NetworkSettings, Settings,
    VectorIndexChoice,
};
pub use show::{Shown, suggestion};
pub use source::Source;
pub use sources::{Gathered, SourceStatus, Sources};
pub use table::SETTINGS;
pub use value::{FileContent, Origin, fingerprint};

use value::Value;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
