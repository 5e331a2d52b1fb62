//! Reading files of one moment.
//!
//! The kubelet mounts a Secret as `NAME -> ..data/NAME`, with `..data -> ..2026_11_23_…/`, and
//! changes all of it by renaming a new `..data` over the old one. Who opens two files through
//! that link can get one from before and one from after. So the link is resolved once, files
//! are read below the directory it named, and afterwards the link must still say the same:
//! a directory of one generation never changes, it is only removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::source::read_limited;

const LINK: &str = "..data";

/// One pass over the files.
#[derive(Default)]
pub(super) struct Disk {
    /// Where `..data` of a directory pointed to at first sight.
    generations: BTreeMap<PathBuf, Option<PathBuf>>,
    directories: BTreeSet<PathBuf>,
}

impl Disk {
    /// The file's bytes, from the generation that this pass saw first.
    pub(super) fn read(&mut self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let below = self.enter(directory);
        match path.file_name() {
            Some(name) => read_limited(&below.join(name), limit_bytes),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Names of the files in a directory, in order.
    pub(super) fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        let below = self.enter(directory);
        let mut names = Vec::new();
        for entry in fs::read_dir(below)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// The generation that a directory shows, for status.
    pub(super) fn generation(&self, directory: &Path) -> Option<String> {
        let target = self.generations.get(directory)?.as_ref()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Whether a generation was replaced since this pass saw it, so that the next one is due.
    pub(super) fn has_moved(&self) -> bool {
        self.generations.iter().any(|(directory, target)| fs::read_link(directory.join(LINK)).ok() != *target)
    }

    /// Whether everything came from generations, which cannot change while they are read.
    pub(super) fn is_whole(&self) -> bool {
        self.generations.values().all(Option::is_some)
    }

    /// The directories in which a change would show.
    pub(super) fn into_directories(self) -> BTreeSet<PathBuf> {
        self.directories
    }

    fn enter(&mut self, directory: &Path) -> PathBuf {
        self.directories.insert(directory.to_owned());
        let seen = self.generations.entry(directory.to_owned());
        match seen.or_insert_with(|| fs::read_link(directory.join(LINK)).ok()) {
            Some(target) => directory.join(target),
            None => directory.to_owned(),
        }
    }
}
