//! From what was pasted into `BYOC_ENDPOINT_URL` to the base of all operations.

use atlas_domain::ProviderError;
use atlas_http::Origin;
use url::Url;

/// OpenAI's own base.
pub const OPENAI_BASE: &str = "https://api.openai.com/v1";

/// Ends of paths that people paste along with OpenAI's base.
const OPERATIONS: [&str; 5] = ["/chat/completions", "/completions", "/responses", "/embeddings", "/models"];

/// The base of an API: of the ends that people paste along with it, the first that is there is cut
/// off. Whatever else is in the path is a gateway's business. `setting` is named in the error.
pub fn base(text: &str, setting: &'static str, pasted: &[&str]) -> Result<Url, ProviderError> {
    let mut url = parse(text, setting)?;
    let path = url.path().trim_end_matches('/');
    let path = pasted.iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
    let path = path.trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The base of an OpenAI-shaped API: `/v1` is added only where there is no path at all.
pub fn openai_base(text: &str, setting: &'static str) -> Result<Url, ProviderError> {
    let mut url = base(text, setting, &OPERATIONS)?;
    if url.path() == "/" {
        url.set_path("/v1");
    }
    Ok(url)
}

/// Whether this is OpenAI itself, in any of its regions.
pub fn is_openai(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host == "api.openai.com" || host.ends_with(".api.openai.com"))
}

/// Azure OpenAI's two URL families: v1, and the classic one of whoever sets an `api-version`.
///
/// The host stays as it was written, because a private endpoint is found and trusted by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureAddress {
    base: Url,
    classic: bool,
}

impl AzureAddress {
    /// Reads an endpoint however it was pasted: bare, with `/openai`, with `/openai/v1`, or as the
    /// URL of a whole operation. A path in front of `/openai` is a gateway's and stays.
    pub fn new(text: &str, api_version: Option<&str>, setting: &'static str) -> Result<Self, ProviderError> {
        let text = text.trim();
        // The portal shows whole URLs, with the version as their query.
        let mut base = parse(text.split_once('?').map_or(text, |(base, _)| base), setting)?;
        let path = base.path().trim_end_matches('/');
        let prefix = match path.find("/openai/") {
            Some(at) => &path[..at],
            None => path.strip_suffix("/openai").unwrap_or(path),
        };
        let version = api_version.map(str::trim).filter(|version| !version.is_empty());
        let family = if version.is_some() { "openai" } else { "openai/v1" };
        base.set_path(&format!("{prefix}/{family}"));
        if let Some(version) = version {
            base.query_pairs_mut().append_pair("api-version", version);
        }
        Ok(Self { base, classic: version.is_some() })
    }

    /// The base of all operations.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Whether the deployment is named by the URL and the version by its query.
    pub fn is_classic(&self) -> bool {
        self.classic
    }

    /// The path of an operation below the base.
    pub fn operation(&self, deployment: &str, operation: &str) -> String {
        // Responses and the list of models name the model in the body or not at all.
        if self.classic && !matches!(operation, "responses" | "models") {
            format!("deployments/{}/{operation}", segment(deployment))
        } else {
            operation.to_owned()
        }
    }
}

/// One segment of a path, with everything that could end it encoded.
fn segment(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A URL that may be an endpoint: http or https, a host, nothing that does not belong there.
pub(crate) fn parse(text: &str, setting: &'static str) -> Result<Url, ProviderError> {
    let url = Url::parse(text.trim()).map_err(|_| {
        ProviderError::setting(setting, "it is no URL; write for example https://llm.internal/v1")
    })?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ProviderError::setting(
            setting,
            "it has a query or fragment; give the base address only",
        ));
    }
    Origin::of(&url).map_err(|error| ProviderError::setting(setting, error.to_string()))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn openai(text: &str, expect: &str) {
        assert_eq!(openai_base(text, "BYOC_ENDPOINT_URL").expect("an address").as_str(), expect, "{text}");
    }

    #[test]
    fn a_base_is_what_is_left_of_a_pasted_url() {
        openai("https://api.openai.com", "https://api.openai.com/v1");
        openai("https://api.openai.com/v1/", "https://api.openai.com/v1");
        openai(" https://api.openai.com/v1/chat/completions ", "https://api.openai.com/v1");
        openai("http://ollama:11434/v1/models/", "http://ollama:11434/v1");
        openai("https://gw.example/llm", "https://gw.example/llm");
    }

    #[test]
    fn of_the_ends_that_are_pasted_the_first_is_cut_off() {
        let check = |text: &str, expect: &str| {
            let base = base(text, "BYOC_ENDPOINT_URL", &["/api/chat", "/api", "/v1"]).expect("an address");
            assert_eq!(base.as_str(), expect, "{text}");
        };
        check("http://ollama:11434", "http://ollama:11434/");
        check("http://ollama:11434/api/chat/", "http://ollama:11434/");
        check("http://gateway/team//v1/", "http://gateway/team");
        check("http://gateway/v1/chat", "http://gateway/v1/chat");
    }

    #[test]
    fn openai_is_known_by_its_host() {
        for (url, expect) in [
            ("https://api.openai.com/v1", true),
            ("https://eu.api.openai.com/v1", true),
            ("https://notapi.openai.com", false),
            ("https://api.openai.com.example", false),
        ] {
            assert_eq!(is_openai(&url.parse().expect("a URL")), expect, "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_the_name_of_its_setting() {
        for text in ["vllm:8000", "ftp://a/", "http://a/v1?key=x", "http://a/#b", "http://user:pw@a/v1", ""] {
            let error = openai_base(text, "CP_ENDPOINT_URL").expect_err("no address");
            assert_eq!(error.named_setting(), Some("CP_ENDPOINT_URL"), "{text}");
            assert!(!error.to_string().contains("pw"), "{error}");
        }
    }

    #[track_caller]
    fn azure(text: &str, version: Option<&str>, expect: &str) {
        let address = AzureAddress::new(text, version, "BYOC_ENDPOINT_URL").expect("an address");
        assert_eq!(address.base().as_str(), expect, "{text}");
    }

    #[test]
    fn azure_endpoints_are_read_however_they_were_pasted() {
        let v1 = "https://acme.openai.azure.com/openai/v1";
        for tail in ["", "/", "/openai", "/openai/", "/openai/v1/", "/openai/v1/chat/completions"] {
            azure(&format!("https://acme.openai.azure.com{tail}"), None, v1);
        }
        let portal =
            "https://acme.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-06-01";
        azure(portal, None, v1);
        azure(portal, Some("2024-10-21"), "https://acme.openai.azure.com/openai?api-version=2024-10-21");
        azure("https://apim.example/team/aoai/", None, "https://apim.example/team/aoai/openai/v1");
    }

    #[test]
    fn a_deployment_cannot_leave_its_segment() {
        let classic = AzureAddress::new("https://acme.openai.azure.com", Some("v"), "BYOC_ENDPOINT_URL")
            .expect("usable");
        let operation = classic.operation("../a b/c?d#e%2f", "chat/completions");
        assert_eq!(operation, "deployments/..%2Fa%20b%2Fc%3Fd%23e%252f/chat/completions");
    }
}
