//! `model`: work on the files of an embedding model.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use atlas_engines::LocalOptions;
use clap::{Args, Subcommand};

use super::{Output, progress};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Find the smoothing factors that make the precisions `fast` and `max` more exact
    #[command(
        after_help = "Runs the model over the texts, one a line, and writes smoothing.safetensors. Put it beside the\n\
                            weights; vectors of `fast` and `max` are then of another space. A few hundred texts are\n\
                            enough; without --texts it uses some that it generates.\n\n\
                            Examples:\n  \
                            atlasai-tp model calibrate --model ./my-model --output ./my-model/smoothing.safetensors\n  \
                            atlasai-tp model calibrate --texts alerts.txt --output smoothing.safetensors"
    )]
    Calibrate(CalibrateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct CalibrateArguments {
    /// Folder of the model [default: the one in the binary]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Texts, one a line [default: generated ones]
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs the command. Blocks: there is nothing else for the process to do.
pub(crate) fn run(command: Model, output: &mut Output) -> anyhow::Result<()> {
    let Model::Calibrate(arguments) = command;
    let texts = match &arguments.texts {
        Some(path) => read(path)?,
        None => atlas_engines::calibration_texts(),
    };
    // Before the work, whose result would have nowhere to go.
    let file = Unfinished::create(&arguments.output)?;
    let options = LocalOptions { model_dir: arguments.model, ..LocalOptions::default() };
    let bar = progress::bar(texts.len(), "calibrating");
    let factors = atlas_engines::calibrate(&options, &texts, &|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    file.finish(&factors)?;
    output.line(&format!("{} texts, {} bytes in {}", texts.len(), factors.len(), arguments.output.display()))
}

fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("{shown} cannot be read as text"))?;
    let texts: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if texts.is_empty() {
        bail!("{shown} holds no texts");
    }
    Ok(texts)
}

/// A file that appears under its name when it is complete.
struct Unfinished {
    file: File,
    beside: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            bail!("{shown} is a folder; --output names the file to write");
        };
        let mut partial = name.to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let beside = path.with_file_name(partial);
        let file = File::create_new(&beside).with_context(|| format!("cannot write {}", beside.display()))?;
        Ok(Self { file, beside, path: path.to_owned() })
    }

    fn finish(mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_all());
        let moved = written.and_then(|()| fs::rename(&self.beside, &self.path));
        moved.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for Unfinished {
    /// Removes what was not finished; what was has moved away.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let dir = tempfile::tempdir().expect("a writable temp dir");
        let path = dir.path().join("factors");
        let unfinished = Unfinished::create(&path).expect("a writable folder");
        assert!(!path.exists());
        unfinished.finish(b"done").expect("writable");
        assert_eq!(fs::read(&path).expect("written"), b"done");
        drop(Unfinished::create(&path).expect("a writable folder"));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_cannot_work_is_said_before_the_work() {
        let dir = tempfile::tempdir().expect("a writable temp dir");
        let refused = |path: &Path| Unfinished::create(path).err().expect("refused").to_string();
        assert!(refused(dir.path()).contains("is a folder"));
        assert!(refused(&dir.path().join("no/such")).contains("cannot write"));
        let empty = dir.path().join("texts");
        fs::write(&empty, "\n \n").expect("writable");
        assert!(read(&empty).expect_err("empty").to_string().contains("holds no texts"));
    }
}
