//! Where the admin token comes from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use atlas_config::{ExposeSecret, SecretString, Settings};

use crate::random;

/// Shortest token that may guard a port that others can reach.
const SHORTEST: usize = 16;

/// Why there is no usable token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Others can reach the port, and there is no token.
    #[error(
        "ADMIN_TOKEN is not set, and {listen} can be reached from other machines; set it to {SHORTEST} characters or \
         more, for example ADMIN_TOKEN=$(openssl rand -hex 16), or listen on 127.0.0.1"
    )]
    Missing {
        /// The address.
        listen: std::net::SocketAddr,
    },
    /// Others can reach the port, and the token can be guessed.
    #[error(
        "ADMIN_TOKEN is shorter than {SHORTEST} characters, and {listen} can be reached from other machines; use for \
         example ADMIN_TOKEN=$(openssl rand -hex 16)"
    )]
    Short {
        /// The address.
        listen: std::net::SocketAddr,
    },
    /// The file with the generated token cannot be used.
    #[error("the file {place} cannot be {action}; correct its permissions, or set ADMIN_TOKEN")]
    File {
        /// The file.
        place: String,
        /// `read` or `written`.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The file that keeps a generated token.
pub fn admin_token_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin-token")
}

/// The configured token, or the one that was made for this data directory.
pub(crate) fn admin_token(settings: &Settings) -> Result<SecretString, TokenError> {
    let listen = settings.listen;
    let reachable = !listen.ip().is_loopback();
    match &settings.admin_token {
        Some(token) if reachable && token.expose_secret().len() < SHORTEST => {
            Err(TokenError::Short { listen })
        }
        Some(token) => Ok(token.clone()),
        None if reachable => Err(TokenError::Missing { listen }),
        None => kept(&admin_token_path(&settings.data_dir)),
    }
}

fn kept(path: &Path) -> Result<SecretString, TokenError> {
    let failed = |action: &'static str| {
        let place = path.display().to_string();
        move |source| TokenError::File { place, action, source }
    };
    match fs::read_to_string(path) {
        Ok(token) if token.trim().len() >= SHORTEST => return Ok(token.trim().to_owned().into()),
        // Empty or cut short by a crash while it was made: make it again.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read")(error)),
    }
    let token = random::token().map_err(failed("written"))?;
    write_private(path, &token).map_err(failed("written"))?;
    Ok(token.into())
}

/// The permissions are given at creation: a moment of 0644 is enough to read it.
fn write_private(path: &Path, token: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(token.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings(values: &[(&str, &str)]) -> Settings {
        Settings::read(&values.iter().copied().collect::<BTreeMap<_, _>>()).expect("usable settings")
    }

    #[test]
    fn a_port_that_others_reach_needs_a_long_token() {
        for values in
            [vec![("TP_LISTEN", "0.0.0.0:80")], vec![("TP_LISTEN", "[::]:80"), ("ADMIN_TOKEN", "short")]]
        {
            let error = admin_token(&settings(&values)).expect_err("refused").to_string();
            assert!(error.starts_with("ADMIN_TOKEN") && error.contains("16 characters"), "{error}");
        }
        let long = [("TP_LISTEN", "0.0.0.0:80"), ("ADMIN_TOKEN", "0123456789abcdef")];
        assert!(admin_token(&settings(&long)).is_ok());
    }

    #[test]
    fn on_loopback_a_token_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().to_str().expect("UTF-8").to_owned();
        let settings = settings(&[("TP_DATA_DIR", &place)]);
        let first = admin_token(&settings).expect("made");
        let second = admin_token(&settings).expect("kept");
        assert_eq!(first.expose_secret(), second.expose_secret());
        assert_eq!(first.expose_secret().len(), 32);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(admin_token_path(folder.path())).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_token_file_cut_short_is_made_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(admin_token_path(folder.path()), "abc").expect("written");
        let place = folder.path().to_str().expect("UTF-8").to_owned();
        let token = admin_token(&settings(&[("TP_DATA_DIR", &place)])).expect("made");
        assert_eq!(token.expose_secret().len(), 32);
    }
}
