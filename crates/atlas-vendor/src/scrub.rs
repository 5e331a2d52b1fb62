//! Taking credentials out of a provider's words.

use std::fmt;
use std::sync::LazyLock;

use atlas_domain::{Destination, DestinationClass};
use atlas_guard::{Cleared, Guard};
use regex::Regex;
use secrecy::{ExposeSecret, SecretString};

/// Most characters of a provider's own words that are kept.
const DETAIL_LIMIT: usize = 500;
/// A key shorter than this may be a word of the message.
const SHORTEST_KEY: usize = 8;

static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\bsk-[^\s"'<>,;]+|\b(?:bearer|basic)\s+[^\s"'<>,;]{4,}|\bkey(?: provided)?\s*[:=]\s*[^\s"'<>,;]+"#)
        .expect("a constant pattern")
});

/// Takes credentials out of a provider's words: OpenAI's 401 repeats a part of the key. `Debug`
/// shows none of them.
#[derive(Default, Clone)]
pub struct Scrubber {
    secrets: Vec<SecretString>,
}

impl Scrubber {
    /// A scrubber that also knows these very secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self { secrets: secrets.into_iter().cloned().collect() }
    }

    /// One line of at most 500 characters without credentials.
    pub fn clean(&self, text: &str) -> String {
        let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        for secret in &self.secrets {
            let secret = secret.expose_secret().trim();
            if secret.len() >= SHORTEST_KEY {
                text = text.replace(secret, "[REDACTED]");
            }
        }
        let text = CREDENTIALS.replace_all(&text, "[REDACTED]").into_owned();
        // Whatever else looks like a secret goes by the guard's rules.
        let anyone = Destination::host(DestinationClass::Public, "error text");
        let text = Guard::new().clear(text, &anyone).map(Cleared::into_value).unwrap_or_default();
        text.trim().chars().take(DETAIL_LIMIT).collect()
    }
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber").field("n_secrets", &self.secrets.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_removed_in_every_form_it_is_echoed() {
        let key = SecretString::from("test-canary-0123456789");
        let scrubber = Scrubber::new([&key]);
        for text in [
            "Incorrect API key provided: test-canary-0123456789.",
            "key=test-canary-0123456789",
            "bad header Bearer test-canary-0123456789",
            "you sent sk-canary",
        ] {
            let clean = scrubber.clean(text);
            assert!(!clean.contains("canary"), "{clean}");
        }
        assert!(!format!("{scrubber:?}").contains("canary"));
    }

    #[test]
    fn the_rest_is_one_short_line() {
        let clean = Scrubber::default().clean(&format!(" a\r\nb {}", "x".repeat(900)));
        assert!(clean.starts_with("a  b x"), "{clean}");
        assert_eq!(clean.chars().count(), 500);
    }
}
