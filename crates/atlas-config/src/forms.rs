//! From text to typed values, one form at a time.
//!
//! Every method names what is wrong and what to do, remembers it, and goes on with a value that
//! is as good as any: the settings are refused at the end, with everything that is wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::reader::Reader;
use crate::{FileContent, Form, SettingDoc, SettingError};

/// A day. Longer limits are typing mistakes, and sums of them overflow clocks.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl Reader<'_> {
    /// Text that is used in lower case.
    pub(crate) fn word(&mut self, name: &'static str) -> Option<String> {
        self.text(name).map(|text| text.to_ascii_lowercase())
    }

    pub(crate) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// A key or token: it travels in an HTTP header, which holds visible ASCII only. A line break
    /// inside comes from a copied key; found here it has a name, found there it has not.
    pub(crate) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let text = self.text(name)?;
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return self.refuse(
                name,
                "holds a space, a line break or a character outside ASCII",
                "copy the value again, without quotes or line breaks",
            );
        }
        Some(text.into())
    }

    /// A password: any text in one line.
    pub(crate) fn password(&mut self, name: &'static str) -> Option<SecretString> {
        let text = self.text(name)?;
        if text.chars().any(char::is_control) {
            let problem = "holds a line break or another control character";
            return self.refuse(name, problem, "copy the value again, as one line");
        }
        Some(text.into())
    }

    /// The whole value of a header, such as `Basic …`.
    pub(crate) fn header_value(&mut self, name: &'static str) -> Option<SecretString> {
        let text = self.text(name)?;
        if text.bytes().any(|byte| byte != b' ' && !byte.is_ascii_graphic()) {
            let problem = "holds a line break or a character outside ASCII";
            return self.refuse(name, problem, "copy the value again, as one line");
        }
        Some(text.into())
    }

    pub(crate) fn address(&mut self, name: &'static str) -> SocketAddr {
        let text = self.required(name);
        text.parse().unwrap_or_else(|_| {
            self.refuse::<()>(
                name,
                format!("is {text:?}, which is not an IP address and port"),
                "use for example 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080",
            );
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        })
    }

    /// A URL without secrets.
    pub(crate) fn url(&mut self, name: &'static str) -> Option<Url> {
        let url = self.any_url(name)?;
        if !url.username().is_empty() || url.password().is_some() {
            let key = match name {
                "CP_ENDPOINT_URL" => "CP_TOKEN",
                "EMBEDDING_ENDPOINT_URL" => "EMBEDDING_API_KEY",
                _ => "BYOC_API_KEY",
            };
            return self.refuse(name, "holds a user name or password", format!("put the key into {key}"));
        }
        Some(url)
    }

    /// A proxy's URL, which may hold a user name and password.
    pub(crate) fn proxy(&mut self, name: &'static str) -> Option<SecretString> {
        let url = self.any_url(name)?;
        if !matches!(url.path(), "" | "/") {
            return self.refuse(name, "holds a path", "end it with the port");
        }
        Some(url.as_str().into())
    }

    /// The value is not repeated in the error: people put credentials into URLs.
    fn any_url(&mut self, name: &'static str) -> Option<Url> {
        let text = self.text(name)?;
        let fix = "use for example https://llm.internal/v1";
        let Ok(url) = Url::parse(&text) else { return self.refuse(name, "is not a URL", fix) };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return self.refuse(name, "is not an http or https URL with a host", fix);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return self.refuse(name, "holds a query or fragment", "end it with the path");
        }
        Some(url)
    }

    pub(crate) fn switch(&mut self, name: &'static str) -> bool {
        let text = self.required(name);
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => self.refuse(name, format!("is {text:?}"), "use true or false").unwrap_or(false),
        }
    }

    /// A whole number within the limits that the list gives.
    pub(crate) fn number(&mut self, name: &'static str) -> Option<u32> {
        let text = self.text(name)?;
        let Some(Form::Number(least, most)) = SettingDoc::find(name).map(|setting| setting.form) else {
            return self.refuse(name, "has no limits in the list of settings", "report this");
        };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let range = match most {
                u32::MAX => format!("of {least} or more"),
                most => format!("from {least} to {most}"),
            };
            let fix = format!("use a whole number {range}, or leave it out");
            return self.refuse(name, format!("is {text:?}"), fix);
        }
        number
    }

    /// One of the words that the list gives, as its meaning.
    pub(crate) fn one_of<T: Copy>(&mut self, name: &'static str, meanings: &[(&str, T)]) -> T {
        let text = self.required(name);
        let meant = meanings.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        match meant {
            Some((_, meaning)) => *meaning,
            None => {
                let words: Vec<&str> = meanings.iter().map(|(word, _)| *word).collect();
                let fix = format!("use {}", words.join(" or "));
                self.refuse::<()>(name, format!("is {text:?}"), fix);
                meanings[0].1
            }
        }
    }

    pub(crate) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let text = self.text(name)?;
        let (digits, seconds_each) = match text.strip_suffix('m') {
            Some(minutes) => (minutes, 60),
            None => (text.strip_suffix('s').unwrap_or(&text), 1),
        };
        let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds_each));
        let duration = seconds.map(Duration::from_secs).filter(|it| !it.is_zero() && *it <= LONGEST);
        if duration.is_none() {
            return self.refuse(
                name,
                format!("is {text:?}"),
                "use seconds such as 90 or 90s, or 2m; a day at most",
            );
        }
        duration
    }

    /// A date, with `-preview` or without, as Azure names the versions of its API.
    pub(crate) fn azure_version(&mut self, name: &'static str) -> Option<String> {
        let text = self.word(name)?;
        let date = text.strip_suffix("-preview").unwrap_or(&text);
        let is_date = date.len() == 10
            && date.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !is_date {
            let fix = "use a date such as 2024-10-21, or leave it out for the v1 URLs";
            return self.refuse(name, format!("is {text:?}"), fix);
        }
        Some(text)
    }

    /// A header that may carry a key.
    pub(crate) fn header_name(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name)?;
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        // These say where a request goes and where it ends.
        let taken =
            ["host", "content-length", "content-type", "transfer-encoding", "connection", "te", "upgrade"];
        if !text.bytes().all(letter) || taken.iter().any(|other| text.eq_ignore_ascii_case(other)) {
            // Not repeated: who confuses this one with the key has the key in it.
            return self.refuse(name, "is not the name of a header for keys", "use for example api-key");
        }
        Some(text)
    }

    /// The path and the bytes of a file.
    pub(crate) fn content(&mut self, name: &'static str) -> Option<FileContent> {
        let path = self.path(name)?;
        match self.source().content(name, &path) {
            Ok(bytes) => {
                self.remember_content(name, &bytes);
                Some(FileContent::new(&path, bytes))
            }
            Err(error) => {
                let problem = format!("names {}, which cannot be read: {error}", shown(&path));
                self.refuse(name, problem, "correct the path or the file's permissions")
            }
        }
    }
}

/// A path for an error text. Who confuses `BYOC_API_KEY_FILE` with `BYOC_API_KEY` has a key here
/// and not a path, so only what looks like a path is shown.
pub(crate) fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let looks_like_one = ["/", "./", "../"].iter().any(|start| text.starts_with(start));
    if looks_like_one { text } else { "a file".to_owned() }
}

/// What is wrong with a setting and its fix, for those that are wrong only together.
pub(crate) fn needs(name: &'static str, other: &'static str) -> SettingError {
    SettingError::invalid(name, format!("is set and {other} is not"), "set both or neither")
}
