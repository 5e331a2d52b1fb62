//! Capability profiles on disk, so that a restart does not forget what was measured.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use atlas_inference::StoredProfile;

const FILE: &str = "capabilities.json";

/// The profiles of earlier tests. A file that cannot be read is as good as none: the next test
/// measures again.
pub(crate) fn load(data_dir: &Path) -> Vec<StoredProfile> {
    let path = data_dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "the capability profiles cannot be read");
            return Vec::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(%error, "the capability profiles are not understood; the next test replaces them");
        Vec::new()
    })
}

/// Keeps the profiles. A failure is logged: the test itself has succeeded.
pub(crate) async fn save(data_dir: &Path, profiles: Vec<StoredProfile>) {
    let data_dir = data_dir.to_owned();
    let written = tokio::task::spawn_blocking(move || write(&data_dir, &profiles)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "the capability profiles cannot be kept");
    }
}

/// Written beside and renamed, so that a crash leaves the old file or the new one.
fn write(data_dir: &Path, profiles: &[StoredProfile]) -> io::Result<()> {
    let beside = data_dir.join(".capabilities.new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(profiles)?)?;
    file.sync_all()?;
    fs::rename(beside, data_dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn profiles_survive_a_restart_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(load(dir.path()), []);
        let profile = StoredProfile {
            provider: "openai".into(),
            host: "127.0.0.1".into(),
            model: "m".into(),
            profile: atlas_llm::CapabilityProfile { tools: Some(true), ..Default::default() },
        };
        save(dir.path(), vec![profile.clone()]).await;
        assert_eq!(load(dir.path()), [profile]);
        fs::write(dir.path().join(FILE), "{").expect("written");
        assert_eq!(load(dir.path()), []);
    }
}
