//! Where settings are read from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::{Origin, SettingError};

/// Something that has named values.
pub trait Source {
    /// The value of a name as it was written, with its spaces. What a blank value means is for
    /// the reader to say.
    fn get(&self, name: &str) -> Result<Option<String>, SettingError>;

    /// Every name that has a value, for finding misspelt ones.
    fn names(&self) -> Vec<String>;

    /// Names that stand where only settings should: files of a settings directory.
    fn strays(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where the value of a name comes from; asked of names that have one.
    fn origin(&self, name: &str) -> Origin {
        let _ = name;
        Origin::Environment
    }

    /// The bytes of the file that the setting `name` points to. A source that has already read
    /// it gives what it read.
    fn content(&self, name: &'static str, path: &Path) -> io::Result<Vec<u8>> {
        let _ = name;
        read_limited(path, CONTENT_LIMIT_BYTES)
    }

    /// What is wrong with the source itself, such as a line that cannot be read.
    fn problems(&self) -> Vec<SettingError> {
        Vec::new()
    }
}

impl Source for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Result<Option<String>, SettingError> {
        Ok(BTreeMap::get(self, name).map(|value| (*value).to_owned()))
    }

    fn names(&self) -> Vec<String> {
        self.keys().map(|name| (*name).to_owned()).collect()
    }
}

/// A bundle of all public certificate authorities has about 250 KB; a file of models less.
pub(crate) const CONTENT_LIMIT_BYTES: u64 = 4 << 20;

/// Reads a file that may be anything: a device or a pipe would never end, or never begin.
pub(crate) fn read_limited(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {} KiB", limit_bytes >> 10),
        ));
    }
    Ok(bytes)
}
