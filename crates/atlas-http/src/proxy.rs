//! The proxy, checked and ready to be asked.

use http::HeaderValue;
use percent_encoding::percent_decode_str;

use crate::error::HttpError;
use crate::no_proxy::NoProxy;
use crate::options::ProxyOptions;
use crate::origin::Origin;
use crate::policy::EgressPolicy;

pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) no_proxy: NoProxy,
}

impl Proxy {
    pub(crate) fn new(options: &ProxyOptions, policy: &EgressPolicy) -> Result<Self, HttpError> {
        let origin = options.origin().map_err(|error| match error {
            HttpError::Url { reason } => HttpError::Options { what: "proxy", reason: reason.to_owned() },
            other => other,
        })?;
        policy.check_proxy(&origin)?;
        let (user, password) = (options.url.username(), options.url.password());
        let authorization =
            (!user.is_empty() || password.is_some()).then(|| basic(user, password.unwrap_or_default()));
        Ok(Self { origin, authorization, no_proxy: options.no_proxy.clone() })
    }

    /// Whether calls to the target go through here.
    pub(crate) fn serves(&self, target: &Origin) -> bool {
        !self.no_proxy.matches(target.host(), target.port())
    }

    /// A failure on the way to the proxy, said of the proxy: its host is not one that the person
    /// who reads the error asked for.
    pub(crate) fn blame(error: HttpError) -> HttpError {
        match error {
            HttpError::Dns { host } => {
                HttpError::Proxy { host, status: None, reason: "its name cannot be resolved".to_owned() }
            }
            HttpError::Connect { host, reason, .. } => HttpError::Proxy { host, status: None, reason },
            HttpError::Tls { host, detail, .. } => HttpError::Proxy {
                host,
                status: None,
                reason: format!("no secure connection to it: {detail}"),
            },
            HttpError::Timeout { host, .. } => HttpError::Proxy {
                host,
                status: None,
                reason: "it did not answer in time (connect)".to_owned(),
            },
            other => other,
        }
    }
}

/// `Basic` credentials of RFC 7617, from the encoded parts of a URL.
fn basic(user: &str, password: &str) -> HeaderValue {
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", base64(&plain)))
        .expect("base64 is made of characters that headers may hold");
    value.set_sensitive(true);
    value
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at) & 63) as usize;
            text.push(if at <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    #[test]
    fn base64_is_padded() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    fn proxy(url: &str, policy: &EgressPolicy) -> Result<Proxy, HttpError> {
        let url = Url::parse(url).expect("a URL");
        Proxy::new(&ProxyOptions { url, no_proxy: NoProxy::default() }, policy)
    }

    #[test]
    fn credentials_are_decoded_and_marked_as_such() {
        let policy = EgressPolicy::default().with_proxy("http://p.example:3128".parse().expect("an origin"));
        let made = proxy("http://test:p%40ss@p.example:3128", &policy).expect("a proxy");
        let authorization = made.authorization.expect("credentials");
        assert_eq!(authorization, "Basic dGVzdDpwQHNz");
        assert!(authorization.is_sensitive());
        let made = proxy("http://p.example:3128", &policy).expect("a proxy");
        assert_eq!(made.authorization, None);
    }

    #[test]
    fn a_proxy_is_http_and_named_by_the_policy() {
        let policy = EgressPolicy::default();
        for url in ["socks5://me:canary@p.example:1080", "http://me:canary@p.example:3128"] {
            let error = proxy(url, &policy).err().expect("refused");
            assert!(matches!(error, HttpError::Options { .. } | HttpError::Denied { .. }), "{error:?}");
            assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn debug_output_of_the_options_shows_no_credentials() {
        let url = Url::parse("http://canary:canary@p.example:3128").expect("a URL");
        let options = ProxyOptions { url, no_proxy: NoProxy::default() };
        let shown = format!("{options:?}");
        assert!(shown.contains("p.example") && !shown.contains("canary"), "{shown}");
    }
}
