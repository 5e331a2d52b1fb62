//! The guard and the proof that it looked.

use atlas_domain::{Destination, Fault, Retry};
use std::collections::BTreeMap;

use crate::secrets;

/// A value whose texts may be sent to one destination.
///
/// It can only be made by [`Guard::clear`]; it is not `Clone`, so that one clearing is one
/// sending.
#[derive(Debug)]
pub struct Cleared<T> {
    value: T,
    destination: Destination,
    redactions: Redactions,
}

impl<T> Cleared<T> {
    /// What may be sent.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// What may be sent, taken out for the wire.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Where it may be sent.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// What was taken out.
    pub fn redactions(&self) -> &Redactions {
        &self.redactions
    }
}

impl<T> Cleared<Vec<T>> {
    /// Keeps the items for which `keep` is true, in their order.
    pub fn retain(mut self, mut keep: impl FnMut(usize) -> bool) -> Self {
        let mut position = 0;
        self.value.retain(|_| {
            let kept = keep(position);
            position += 1;
            kept
        });
        self
    }
}

/// How many secrets of which kind were replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redactions(pub BTreeMap<&'static str, usize>);

impl Redactions {
    /// All of them.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }
}

/// Why a text may not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The settings allow nothing to leave to this class of destination.
    #[error("the egress policy allows no text to be sent to {host}")]
    Denied {
        /// The host that was refused.
        host: String,
    },
}

impl GuardError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Denied { .. } => Fault::Settings,
        }
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Denied { .. } => Retry::Never,
        }
    }
}

/// A value that can show every text in it. Missing one would let it leave unread, so implement
/// it beside the type and destructure, that a new field fails to compile.
pub trait Texts {
    /// Calls `visit` with every text that would be sent.
    fn visit_texts(&mut self, visit: &mut dyn FnMut(&mut String));
}

impl Texts for String {
    fn visit_texts(&mut self, visit: &mut dyn FnMut(&mut String)) {
        visit(self);
    }
}

impl<T: Texts> Texts for Vec<T> {
    fn visit_texts(&mut self, visit: &mut dyn FnMut(&mut String)) {
        self.iter_mut().for_each(|item| item.visit_texts(visit));
    }
}

/// The guard. Cheap to share.
#[derive(Debug, Default)]
pub struct Guard {
    _private: (),
}

impl Guard {
    /// A guard with the built-in rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Clears `value` for `destination`. What stays in the process is untouched; in what leaves
    /// it, secrets are replaced by typed placeholders such as `[REDACTED:aws_access_key]`.
    pub fn clear<T: Texts>(&self, mut value: T, destination: &Destination) -> Result<Cleared<T>, GuardError> {
        let mut redactions = Redactions::default();
        if destination.is_outside() {
            value.visit_texts(&mut |text| secrets::redact(text, &mut redactions));
        }
        Ok(Cleared { value, destination: destination.clone(), redactions })
    }
}
