//! The values by which a tenant's records can be filtered.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// A service or application.
    Service,
    /// A machine.
    Host,
    /// A severity or log level.
    Severity,
    /// Where a record came from.
    Source,
    /// A state of its life cycle.
    Status,
    /// A part of a service that writes log lines.
    Component,
}

impl Field {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Host => "host",
            Self::Severity => "severity",
            Self::Source => "source",
            Self::Status => "status",
            Self::Component => "component",
        }
    }
}

/// Longest value that is known, in words: `order desk`.
pub(super) const VALUE_WORDS: usize = 4;
/// Longest value in bytes; a longer one is no name.
const VALUE_BYTES: usize = 120;
/// Most values. A tenant with more is read by the form of its names.
const MOST_VALUES: usize = 20_000;

/// A value of a field, as records have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) field: Field,
    pub(super) value: String,
}

/// Known values of fields. An empty vocabulary knows nothing and refuses nothing.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    values: HashMap<String, Vec<Known>>,
    fields: BTreeSet<Field>,
    /// The label that says on which machine a record was made, and the one of components.
    labels: HashMap<Field, String>,
}

impl Vocabulary {
    /// Adds a value.
    pub fn add(&mut self, field: Field, value: &str) {
        let name = value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        if name.is_empty() || value.len() > VALUE_BYTES || self.values.len() >= MOST_VALUES {
            return;
        }
        let known = Known { field, value: value.to_owned() };
        let all = self.values.entry(name).or_default();
        if !all.contains(&known) {
            all.push(known);
            self.fields.insert(field);
        }
    }

    /// Adds a value of a label, for the fields that are kept as labels.
    pub fn add_label(&mut self, label: &str, value: &str) {
        let field = match label {
            "host" | "hostname" | "host.name" | "instance" | "node" => Field::Host,
            "component" | "logger" | "module" => Field::Component,
            _ => return,
        };
        self.add(field, value);
        self.labels.entry(field).or_insert_with(|| label.to_owned());
    }

    /// Whether any value of a field is known.
    pub(super) fn knows(&self, field: Field) -> bool {
        self.fields.contains(&field)
    }

    /// The fields that have a value of this name.
    pub(super) fn find(&self, name: &str) -> &[Known] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of a field under this name.
    pub(super) fn of(&self, field: Field, name: &str) -> Option<&str> {
        self.find(name).iter().find(|known| known.field == field).map(|known| known.value.as_str())
    }

    /// The label in which a field is kept.
    pub(super) fn label(&self, field: Field) -> &str {
        let usual = if field == Field::Host { "host" } else { "component" };
        self.labels.get(&field).map_or(usual, String::as_str)
    }
}
