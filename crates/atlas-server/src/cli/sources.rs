//! Reading what is to be imported.
//!
//! Everything is read and checked before anything is sent: an import that is refused has written
//! nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::arguments::ImportKind;

/// A file that will be imported, read whole.
#[derive(Debug, PartialEq)]
pub(crate) struct SourceFile {
    /// Path below the imported folder, with `/` between its parts; the file name for one file.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

/// Reads the files of `path` that are of this kind, in the order of their names.
pub(crate) fn read(kind: ImportKind, path: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let meta = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if meta.is_file() {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        return Ok(vec![SourceFile { name, text: text_of(path)? }]);
    }
    let mut paths = Vec::new();
    collect(kind, path, &mut paths)?;
    paths.sort();
    ensure!(
        !paths.is_empty(),
        "{} holds no {} to import: looked for files that end in {}",
        path.display(),
        kind.noun(),
        kind.endings().join(", ")
    );
    paths
        .into_iter()
        .map(|file| {
            let below = file.strip_prefix(path).unwrap_or(&file);
            let name = below
                .components()
                .map(|part| part.as_os_str().to_string_lossy())
                .collect::<Vec<_>>()
                .join("/");
            Ok(SourceFile { name, text: text_of(&file)? })
        })
        .collect()
}

fn collect(kind: ImportKind, folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("the folder {} cannot be read", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("the folder {} cannot be read", folder.display()))?;
        let path = entry.path();
        let file_type = entry.file_type().with_context(|| format!("{} cannot be read", path.display()))?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if file_type.is_dir() {
            collect(kind, &path, found)?;
        } else if kind.endings().iter().any(|ending| path.to_string_lossy().to_lowercase().ends_with(ending))
        {
            // Links to files are followed, links to folders are not: they could form a ring.
            if fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
                found.push(path);
            }
        }
    }
    Ok(())
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
            bail!(
                "{}, line {line}: not UTF-8, so nothing was imported; convert the file \
                 (for example `iconv -f latin1 -t utf-8`) or move it out of the folder",
                path.display()
            )
        }
    }
}

impl ImportKind {
    fn noun(self) -> &'static str {
        match self {
            Self::Runbooks => "runbooks",
            Self::Incidents => "incidents",
            Self::Alerts => "alerts",
            Self::Logs => "logs",
        }
    }

    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Runbooks => &[".md", ".markdown"],
            Self::Incidents => &[".jsonl", ".ndjson"],
            Self::Alerts => &[".json", ".jsonl", ".ndjson"],
            Self::Logs => &[".log", ".txt", ".jsonl", ".ndjson"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
            fs::write(path, bytes).expect("written");
        }
        folder
    }

    fn names(kind: ImportKind, folder: &tempfile::TempDir) -> Vec<String> {
        read(kind, folder.path()).expect("read").into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn a_folder_gives_its_markdown_in_name_order() {
        let folder = folder(&[("b.md", b"b"), ("a/c.md", b"c"), ("x.png", b"p"), (".git/d.md", b"d")]);
        assert_eq!(names(ImportKind::Runbooks, &folder), ["a/c.md", "b.md"]);
    }

    #[test]
    fn a_file_that_is_not_utf8_names_file_line_and_remedy() {
        let folder = folder(&[("a.md", b"good"), ("b.md", b"good\nbad \xff byte")]);
        let error = read(ImportKind::Runbooks, folder.path()).expect_err("refused").to_string();
        assert!(error.contains("b.md, line 2: not UTF-8") && error.contains("iconv"), "{error}");
    }

    #[test]
    fn an_empty_folder_says_what_was_looked_for() {
        let folder = folder(&[("notes.docx", b"x")]);
        let error = read(ImportKind::Logs, folder.path()).expect_err("refused").to_string();
        assert!(error.contains("no logs to import") && error.contains(".log"), "{error}");
    }

    #[test]
    fn a_byte_order_mark_is_not_content() {
        let folder = folder(&[("a.md", b"\xef\xbb\xbf# A")]);
        assert_eq!(read(ImportKind::Runbooks, folder.path()).expect("read")[0].text, "# A");
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = read(ImportKind::Logs, Path::new("no-such-folder")).expect_err("refused").to_string();
        assert!(error.contains("no-such-folder cannot be read"), "{error}");
    }
}
