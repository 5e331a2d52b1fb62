//! One folder per chat provider.
//!
//! [`origins`] says which origins a label with its [`Options`] will call, so that the egress
//! policy exists before there is a client; [`provider`] then makes a [`Provider`], and connecting
//! that gives a model. A folder has the stages of a call: `options` (settings to an endpoint),
//! `request` (our request to theirs), `stream` (their answer to our events), `error` (their
//! refusals to ours). Labels that speak OpenAI's chat completions share one folder,
//! `chat_completions`, whose `dialect` is the table of their differences; a file each says what
//! their settings are.
//!
//! What a request asks for and a provider lacks is imitated or left out; each folder's module
//! text has the table.
//!
//! Not here: which model answers, repeating a call, and redaction of prompts.

mod anthropic;
mod azure;
mod bedrock;
mod chat_completions;
mod compatible;
mod control_plane;
mod form;
mod ollama;
mod openai;
mod options;
mod pieces;
mod reading;
mod request;
mod responses;

#[cfg(test)]
mod fixture_tests;
#[cfg(test)]
mod labels_tests;
#[cfg(test)]
mod loopback_tests;

use std::sync::Arc;

use atlas_llm::{Provider, ProviderError};

pub use atlas_vendor::{Catalog, CatalogError, Origins, Sockets};
pub use control_plane::{CONTROL_PLANE_LABEL, control_plane};
pub use options::{ApiChoice, Options, TimeLimits};

/// A provider, or the setting that stands in its way.
type Made = Result<Arc<dyn Provider>, ProviderError>;

/// A dialect: what its labels need, and how it is made.
struct Plug {
    /// The values of `BYOC_PROVIDER` that name it.
    labels: &'static [&'static str],
    /// Every origin it calls with these options.
    origins: fn(&'static str, &Options) -> Result<Origins, ProviderError>,
    /// Checks the options and makes it. Opens no connection.
    make: fn(&'static str, Options, Sockets) -> Made,
}

/// Every provider. A newcomer is one entry here and one folder.
const PLUGS: &[Plug] =
    &[openai::PLUG, azure::PLUG, bedrock::PLUG, compatible::PLUG, anthropic::PLUG, ollama::PLUG];

/// The labels that [`provider`] knows, in the order of the documentation.
pub fn labels() -> impl Iterator<Item = &'static str> {
    PLUGS.iter().flat_map(|plug| plug.labels.iter().copied())
}

/// The origins that a label will call with these options.
pub fn origins(label: &str, options: &Options) -> Result<Origins, ProviderError> {
    let (plug, label) = find(label)?;
    (plug.origins)(label, options)
}

/// The provider that a label names.
pub fn provider(label: &str, options: Options, sockets: Sockets) -> Result<Arc<dyn Provider>, ProviderError> {
    let (plug, label) = find(label)?;
    (plug.make)(label, options, sockets)
}

fn find(label: &str) -> Result<(&'static Plug, &'static str), ProviderError> {
    let wanted = label.trim().to_ascii_lowercase();
    let found = PLUGS.iter().find_map(|plug| {
        let label = plug.labels.iter().copied().find(|label| *label == wanted)?;
        Some((plug, label))
    });
    found.ok_or_else(|| {
        let shown: String = wanted.chars().take(40).collect();
        let known: Vec<_> = labels().collect();
        ProviderError::setting(
            "BYOC_PROVIDER",
            format!("{shown:?} is not known; there are {}", known.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_without_regard_to_case() {
        for label in labels() {
            assert_eq!(find(&label.to_uppercase()).expect("a known label").1, label);
        }
    }

    #[test]
    fn an_unknown_label_lists_the_ones_there_are() {
        let error = find("gpt").err().expect("no such label").to_string();
        for label in labels() {
            assert!(error.contains(label), "{error}");
        }
    }
}
