//! Reads one source, remembers where each value came from and what was wrong.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{Form, Origin, SettingDoc, SettingError, Source, Value};

pub(crate) struct Reader<'a> {
    source: &'a dyn Source,
    values: BTreeMap<&'static str, Value>,
    problems: Vec<SettingError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self { source, values: BTreeMap::new(), problems: source.problems() }
    }

    pub(crate) fn source(&self) -> &'a dyn Source {
        self.source
    }

    /// Every value that was read; the second part is what is wrong, or empty.
    pub(crate) fn finish(self) -> (BTreeMap<&'static str, Value>, Vec<SettingError>) {
        (self.values, self.problems)
    }

    /// The value, or the default of the list. `None` when there is neither.
    ///
    /// A blank value counts as not set, because `NAME=` is how compose files and charts write
    /// "nothing", and the space around a value is dropped, because files end with a line break.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        let setting = SettingDoc::find(name);
        debug_assert!(setting.is_some(), "{name} is not in the list of settings");
        let exact = setting.is_some_and(|setting| setting.form == Form::Exact);
        let written = match self.source.get(name) {
            Ok(Some(value)) if exact => Some(value).filter(|value| !value.is_empty()),
            Ok(value) => value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()),
            Err(error) => {
                self.problems.push(error);
                None
            }
        };
        let origin = if written.is_some() { self.source.origin(name) } else { Origin::Default };
        let default = setting.map(|setting| setting.default).filter(|default| !default.is_empty());
        let text = written.or_else(|| default.map(str::to_owned));
        self.values.insert(name, Value { origin, text: text.clone().map(Into::into), content: None });
        text
    }

    /// Remembers what was in the file that a setting points to, to see a change of it.
    pub(crate) fn remember_content(&mut self, name: &'static str, bytes: &[u8]) {
        if let Some(value) = self.values.get_mut(name) {
            value.content = Some(Sha256::digest(bytes).into());
        }
    }

    /// Whether a setting that was read has a value.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| value.text.is_some())
    }

    /// A setting that has a default.
    pub(crate) fn required(&mut self, name: &'static str) -> String {
        let text = self.text(name);
        text.unwrap_or_else(|| self.refuse(name, "is not set", "set it").unwrap_or_default())
    }

    /// Remembers what is wrong. The answer is `None`, for a caller to return.
    pub(crate) fn refuse<T>(
        &mut self,
        name: &'static str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Option<T> {
        self.problem(SettingError::invalid(name, problem, fix));
        None
    }

    pub(crate) fn problem(&mut self, problem: SettingError) {
        self.problems.push(problem);
    }
}
