//! From text to typed values.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use secrecy::SecretString;
use url::Url;

use crate::{LogFormat, Origin, SETTINGS, SettingError, Source};

/// Reads one source and remembers where each value came from.
pub(crate) struct Reader<'a> {
    source: &'a dyn Source,
    origins: BTreeMap<&'static str, Origin>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self { source, origins: BTreeMap::new() }
    }

    pub(crate) fn into_origins(self) -> BTreeMap<&'static str, Origin> {
        self.origins
    }

    /// The value, or the default of the list. `None` when there is neither.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, SettingError> {
        let doc = SETTINGS.iter().find(|setting| setting.name == name);
        debug_assert!(doc.is_some(), "{name} is not in the list of settings");
        let value = self.source.get(name)?;
        let origin = if value.is_some() { Origin::Environment } else { Origin::Default };
        self.origins.insert(name, origin);
        let default = doc.map(|doc| doc.default).filter(|default| !default.is_empty());
        Ok(value.or_else(|| default.map(str::to_owned)))
    }

    /// A setting that has a default.
    pub(crate) fn required(&mut self, name: &'static str) -> Result<String, SettingError> {
        self.text(name)?.ok_or_else(|| invalid(name, "is not set", "set it"))
    }

    pub(crate) fn secret(&mut self, name: &'static str) -> Result<Option<SecretString>, SettingError> {
        match self.text(name)? {
            // Keys travel in HTTP headers, which hold visible ASCII only. A line break inside
            // comes from a copied key; found here it has a name, found there it has not.
            Some(value) if value.bytes().any(|byte| !byte.is_ascii_graphic()) => Err(invalid(
                name,
                "holds a space, a line break or a character outside ASCII",
                "copy the value again, without quotes or line breaks",
            )),
            value => Ok(value.map(SecretString::from)),
        }
    }

    pub(crate) fn address(&mut self, name: &'static str) -> Result<SocketAddr, SettingError> {
        let text = self.required(name)?;
        text.parse().map_err(|_| {
            invalid(
                name,
                &format!("is {text:?}, which is not an IP address and port"),
                "use for example 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080",
            )
        })
    }

    /// The value is not repeated in the error: people put credentials into URLs.
    pub(crate) fn url(&mut self, name: &'static str) -> Result<Option<Url>, SettingError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let fix = "use for example https://llm.internal/v1";
        let url = Url::parse(&text).map_err(|_| invalid(name, "is not a URL", fix))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(invalid(name, "is not an http or https URL with a host", fix));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let fix = "put the key into BYOC_API_KEY, or CP_TOKEN for the control plane";
            return Err(invalid(name, "holds a user name or password", fix));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid(name, "holds a query or fragment", "end it with the path"));
        }
        Ok(Some(url))
    }

    pub(crate) fn switch(&mut self, name: &'static str) -> Result<bool, SettingError> {
        let text = self.required(name)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(invalid(name, &format!("is {text:?}"), "use true or false")),
        }
    }

    pub(crate) fn threads(&mut self, name: &'static str) -> Result<Option<NonZeroUsize>, SettingError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse::<NonZeroUsize>() {
            Ok(threads) if threads.get() <= 256 => Ok(Some(threads)),
            _ => Err(invalid(
                name,
                &format!("is {text:?}"),
                "use a whole number from 1 to 256, or leave it out",
            )),
        }
    }

    pub(crate) fn log_format(&mut self, name: &'static str) -> Result<LogFormat, SettingError> {
        let text = self.required(name)?;
        match text.to_ascii_lowercase().as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(invalid(name, &format!("is {text:?}"), "use text or json")),
        }
    }
}

fn invalid(name: &'static str, problem: &str, fix: &str) -> SettingError {
    SettingError::Invalid { name, problem: problem.to_owned(), fix: fix.to_owned() }
}
