//! A mounted Secret, as the kubelet makes one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A directory whose files are links through `..data`.
pub(crate) struct Mount(tempfile::TempDir);

impl Mount {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    /// Replaces all files at once: new directory, new link over the old one, old directory away.
    pub(crate) fn swap(&self, generation: u32, files: &[(&str, &str)]) {
        let root = self.0.path();
        let old = fs::read_link(root.join("..data")).ok();
        let name = format!("..{generation}");
        fs::create_dir(root.join(&name)).expect("a new generation");
        for (file, text) in files {
            fs::write(root.join(&name).join(file), format!("{text}\n")).expect("written");
        }
        symlink(&name, root.join("..data_tmp")).expect("linked");
        fs::rename(root.join("..data_tmp"), root.join("..data")).expect("swapped");
        for (file, _) in files {
            let link = root.join(file);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(file), link).expect("linked");
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(root.join(old)).expect("removed");
        }
    }
}
