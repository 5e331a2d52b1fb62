//! From several places to one value for each setting.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk::Disk;
use super::{Entry, Gathered, Level, VALUE_LIMIT_BYTES, without_line_break};
use crate::forms::shown;
use crate::source::CONTENT_LIMIT_BYTES;
use crate::{Form, Origin, SETTINGS, SettingDoc, SettingError};

/// Takes each setting from the first place that has it, with the files it points to.
pub(super) fn merge(gathered: &mut Gathered, files: &[Level], environment: &Level, disk: &mut Disk) {
    for setting in SETTINGS {
        let found = if setting.names_a_source() {
            gathered.refuse_elsewhere(setting, files, environment);
            environment.get(setting.name).cloned()
        } else {
            let levels = files.iter().chain([environment]);
            let mut found = levels.map(|level| gathered.at_level(setting, level, disk));
            found.find_map(|found| found)
        };
        let Some(entry) = found else { continue };
        if let (Form::Content, Some(path)) =
            (setting.form, entry.text().map(str::trim).filter(|p| !p.is_empty()))
        {
            let content = disk.read(Path::new(path), CONTENT_LIMIT_BYTES);
            let content = content.map_err(|error| (error.kind(), error.to_string()));
            gathered.contents.insert(setting.name, content);
        }
        gathered.values.insert(setting.name, entry);
    }
}

impl Gathered {
    /// What one place says of a setting: its value, or the file that holds it.
    fn at_level(&mut self, setting: &'static SettingDoc, level: &Level, disk: &mut Disk) -> Option<Entry> {
        let direct = level.get(setting.name);
        // Where every byte counts, a blank value is a value too: written over a 1 from a place
        // further down, it means that somebody switched it off.
        let direct = direct.filter(|entry| setting.form == Form::Exact || !entry.is_blank());
        let file = setting.may_be_in_file().then(|| level.get(&format!("{}_FILE", setting.name))).flatten();
        match (direct, file.filter(|entry| !entry.is_blank())) {
            (Some(_), Some(file)) => {
                let problem = format!("and {}_FILE are both set ({})", setting.name, file.origin);
                self.problems.push(SettingError::invalid(setting.name, problem, "keep one of them"));
                None
            }
            (Some(direct), None) => Some(direct.clone()),
            (None, Some(file)) => self.named_file(setting, file, disk),
            (None, None) => None,
        }
    }

    fn named_file(&mut self, setting: &'static SettingDoc, file: &Entry, disk: &mut Disk) -> Option<Entry> {
        let path = PathBuf::from(file.text().unwrap_or_default().trim());
        match disk.read(&path, VALUE_LIMIT_BYTES) {
            Ok(bytes) => {
                let origin = Origin::NamedFile { path, named_in: Box::new(file.origin.clone()) };
                Some(Entry { bytes: without_line_break(bytes), origin })
            }
            Err(error) => {
                let problem = format!(
                    "cannot be read from {}, which {}_FILE names: {error}",
                    shown(&path),
                    setting.name
                );
                let fix = "correct the path or the file's permissions";
                self.problems.push(SettingError::invalid(setting.name, problem, fix));
                None
            }
        }
    }

    /// The environment alone says where the others are. One file may serve both as the
    /// environment of a container and as `TP_ENV_FILE`, so the same value again is no error.
    fn refuse_elsewhere(&mut self, setting: &SettingDoc, files: &[Level], environment: &Level) {
        let real = environment.get(setting.name).map(|entry| entry.bytes.trim_ascii());
        let entries = files.iter().filter_map(|level| level.get(setting.name));
        for entry in entries.filter(|entry| !entry.is_blank() && Some(entry.bytes.trim_ascii()) != real) {
            let problem = format!("is set in {}, where it has no effect", entry.origin);
            let fix = "set it in the environment of the process";
            self.problems.push(SettingError::invalid(setting.name, problem, fix));
        }
    }

    /// Tells two readings apart by everything that matters, and by nothing else: a new comment in
    /// a file or a value that moved to another place is no change.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        for (name, entry) in &self.values {
            add(name.as_bytes());
            add(&entry.bytes);
        }
        for (name, content) in &self.contents {
            add(name.as_bytes());
            match content {
                Ok(bytes) => add(bytes),
                Err((_, text)) => add(text.as_bytes()),
            }
        }
        for problem in &self.problems {
            add(problem.to_string().as_bytes());
        }
        for name in self.strays.iter().chain(&self.names) {
            add(name.as_bytes());
        }
        hash.finalize().into()
    }
}
