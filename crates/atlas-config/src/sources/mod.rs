//! The places that settings are read from, and their order.
//!
//! Settings directory, then `.env`-style file, then process environment: what a platform mounts
//! can change while the server runs, so it comes before what cannot. A name counts as set where
//! its value is not blank.
//!
//! At each place `<NAME>_FILE` stands for the content of the file it points to. Both at one
//! place is an error: whichever won, somebody would have rotated the other.

mod disk;
mod env_file;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, thread};

use serde::Serialize;

use crate::source::read_limited;
use crate::{Origin, SettingDoc, SettingError, Source};
use disk::Disk;

/// The longest value. Keys have a few hundred bytes; a file this large is not a setting, and
/// Kubernetes would take a megabyte.
const VALUE_LIMIT_BYTES: u64 = 64 << 10;
const ENV_FILE_LIMIT_BYTES: u64 = 1 << 20;

/// How often files are read before it is said that they do not come to rest.
const PASSES: u32 = 24;

/// Where settings are read from. `Debug` shows no values.
#[derive(Clone)]
pub struct Sources {
    environment: Arc<Level>,
    dir: Option<PathBuf>,
    env_file: Option<PathBuf>,
}

/// One value at one place.
#[derive(Clone)]
struct Entry {
    bytes: Vec<u8>,
    origin: Origin,
}

impl Entry {
    fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

/// The values of one place.
type Level = BTreeMap<String, Entry>;

impl Sources {
    /// This process's environment, and the directory and file that it names.
    pub fn process() -> Self {
        Self::of(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))))
    }

    /// The same with another environment than this process's.
    pub fn new<N: Into<String>, V: Into<String>>(environment: impl IntoIterator<Item = (N, V)>) -> Self {
        Self::of(environment.into_iter().map(|(name, value)| (name.into(), OsString::from(value.into()))))
    }

    fn of(variables: impl Iterator<Item = (String, OsString)>) -> Self {
        let entry = |value: OsString| Entry { bytes: value.into_vec(), origin: Origin::Environment };
        let environment: Level = variables.map(|(name, value)| (name, entry(value))).collect();
        let path = |name: &str| {
            let text = environment.get(name)?.text()?.trim();
            (!text.is_empty()).then(|| PathBuf::from(text))
        };
        let (dir, env_file) = (path("TP_SETTINGS_DIR"), path("TP_ENV_FILE"));
        Self { environment: Arc::new(environment), dir, env_file }
    }

    /// Reads all places. What is wrong with them is in [`Source::problems`] of the outcome.
    ///
    /// Reads until nothing changed meanwhile: files of a mounted Secret are of one generation,
    /// and other files were read twice with the same outcome.
    pub fn read(&self) -> Gathered {
        let mut before = None;
        for pass in 0..PASSES {
            if pass > 2 {
                thread::sleep(Duration::from_millis(u64::from(pass)));
            }
            let (gathered, disk) = self.pass();
            if disk.has_moved() {
                before = None;
            } else if disk.is_whole() || before == Some(gathered.hash()) {
                return Gathered { directories: disk.into_directories(), ..gathered };
            } else {
                before = Some(gathered.hash());
            }
        }
        let (gathered, disk) = self.pass();
        let name = if self.dir.is_some() { "TP_SETTINGS_DIR" } else { "TP_ENV_FILE" };
        let problem = SettingError::invalid(
            name,
            "changed all the time while it was read",
            "write new files beside it and rename them",
        );
        Gathered { problems: vec![problem], directories: disk.into_directories(), ..gathered }
    }

    fn pass(&self) -> (Gathered, Disk) {
        let mut disk = Disk::default();
        let mut gathered = Gathered::default();
        let mut levels = Vec::new();
        if let Some(dir) = &self.dir {
            let level = gathered.settings_dir(dir, &mut disk);
            let generation = disk.generation(dir);
            gathered.sources.push(SourceStatus::of("settings_dir", Some(dir), &level, generation));
            levels.push(level);
        }
        if let Some(path) = &self.env_file {
            let level = gathered.env_file(path, &mut disk);
            gathered.sources.push(SourceStatus::of("env_file", Some(path), &level, None));
            levels.push(level);
        }
        gathered.names.extend(self.environment.keys().cloned());
        gathered.sources.push(SourceStatus::of("environment", None, &self.environment, None));
        merge::merge(&mut gathered, &levels, &self.environment, &mut disk);
        (gathered, disk)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("dir", &self.dir)
            .field("env_file", &self.env_file)
            .finish_non_exhaustive()
    }
}

/// One place that settings are read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// `settings_dir`, `env_file` or `environment`.
    pub kind: &'static str,
    /// The directory or file.
    pub path: Option<PathBuf>,
    /// How many settings it has a value for.
    pub values: usize,
    /// Which generation of a mounted Secret or ConfigMap was read.
    pub generation: Option<String>,
}

impl SourceStatus {
    fn of(kind: &'static str, path: Option<&PathBuf>, level: &Level, generation: Option<String>) -> Self {
        let known = |(name, entry): &(&String, &Entry)| crate::read::is_known(name) && !entry.is_blank();
        Self { kind, path: path.cloned(), values: level.iter().filter(known).count(), generation }
    }
}

/// What all places said at one moment.
#[derive(Default)]
pub struct Gathered {
    values: BTreeMap<&'static str, Entry>,
    /// Bytes of the files that values point to.
    contents: BTreeMap<&'static str, Result<Vec<u8>, (io::ErrorKind, String)>>,
    names: Vec<String>,
    /// Files of the settings directory that are no settings.
    strays: Vec<String>,
    problems: Vec<SettingError>,
    sources: Vec<SourceStatus>,
    directories: BTreeSet<PathBuf>,
}

impl Gathered {
    /// The places, in their order.
    pub fn sources(&self) -> &[SourceStatus] {
        &self.sources
    }

    /// The directories in which a change would show.
    pub(crate) fn directories(&self) -> &BTreeSet<PathBuf> {
        &self.directories
    }

    fn settings_dir(&mut self, dir: &Path, disk: &mut Disk) -> Level {
        let mut level = Level::new();
        let names = match disk.list(dir) {
            Ok(names) => names,
            Err(error) => {
                self.unreadable("TP_SETTINGS_DIR", dir, &error);
                return level;
            }
        };
        // `..data`, `..2026_…` and hidden files of editors.
        for name in names.into_iter().filter(|name| !name.starts_with('.')) {
            let own = SettingDoc::find(&name).or_else(|| SettingDoc::find_by_file(&name));
            let Some(setting) = own else {
                self.strays.push(name);
                continue;
            };
            let path = dir.join(&name);
            match disk.read(&path, VALUE_LIMIT_BYTES) {
                Ok(bytes) => {
                    let bytes = without_line_break(bytes);
                    level.insert(name, Entry { bytes, origin: Origin::SettingsDir { path } });
                }
                // Also when it was removed after the listing: then the next pass says otherwise.
                Err(error) => {
                    let problem = format!("is a file of the settings directory that cannot be read: {error}");
                    let fix = "write the value alone into the file";
                    self.problems.push(SettingError::invalid(setting.name, problem, fix));
                }
            }
        }
        level
    }

    fn env_file(&mut self, path: &Path, disk: &mut Disk) -> Level {
        match disk.read(path, ENV_FILE_LIMIT_BYTES) {
            Ok(bytes) => {
                let (level, problems) = env_file::parse(path, &bytes);
                self.names.extend(level.keys().cloned());
                self.problems.extend(problems);
                level
            }
            Err(error) => {
                self.unreadable("TP_ENV_FILE", path, &error);
                Level::new()
            }
        }
    }

    fn unreadable(&mut self, name: &'static str, path: &Path, error: &io::Error) {
        let problem = format!("names {}, which cannot be read: {error}", path.display());
        let fix = "correct the path or its permissions";
        self.problems.push(SettingError::invalid(name, problem, fix));
    }
}

impl Source for Gathered {
    fn get(&self, name: &str) -> Result<Option<String>, SettingError> {
        let Some(entry) = self.values.get(name) else { return Ok(None) };
        match entry.text() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(SettingError::NotText { name: name.to_owned() }),
        }
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn strays(&self) -> Vec<String> {
        self.strays.clone()
    }

    fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |entry| entry.origin.clone())
    }

    fn content(&self, name: &'static str, path: &Path) -> io::Result<Vec<u8>> {
        match self.contents.get(name) {
            Some(Ok(bytes)) => Ok(bytes.clone()),
            Some(Err((kind, text))) => Err(io::Error::new(*kind, text.clone())),
            None => read_limited(path, crate::source::CONTENT_LIMIT_BYTES),
        }
    }

    fn problems(&self) -> Vec<SettingError> {
        self.problems.clone()
    }
}

/// Files end with a line break, values do not.
fn without_line_break(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
