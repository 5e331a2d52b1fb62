//! The Bedrock client.

use std::sync::Arc;

use atlas_domain::ProviderError;
use atlas_http::Origin;
use atlas_vendor::from_http;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::config::{BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_sdk_bedrockruntime::{Client, Config};
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use url::Url;

use crate::identity::{Identity, Signer};
use crate::options::present;
use crate::region;
use crate::sdk_http::SdkHttp;

/// Where Bedrock is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEndpoint {
    region: String,
    url: Url,
    origin: Origin,
}

impl RuntimeEndpoint {
    /// The region's endpoint, or `endpoint_url` (a VPC endpoint, say) in its stead; the region is
    /// needed in any case, requests are signed for it. FIPS endpoints have other names.
    pub fn new(
        region: Option<&String>,
        endpoint_url: Option<&String>,
        use_fips: bool,
    ) -> Result<Self, ProviderError> {
        let region = region::check(region)?;
        let url = match present(endpoint_url) {
            None => region::bedrock_runtime(region, use_fips)?,
            Some(text) => parse(text)?,
        };
        let origin = Origin::of(&url).map_err(from_http)?;
        Ok(Self { region: region.to_owned(), url, origin })
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The base of all requests.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The one origin that has to be allowed.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

fn parse(text: &str) -> Result<Url, ProviderError> {
    let setting = "BYOC_ENDPOINT_URL";
    let url = Url::parse(text).map_err(|_| {
        ProviderError::setting(setting, "it is no URL; a VPC endpoint looks like https://vpce-0123-abcd.bedrock-runtime.us-east-1.vpce.amazonaws.com")
    })?;
    // The SDK would drop them without a word.
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ProviderError::setting(
            setting,
            "it has a query or fragment; give the base address only",
        ));
    }
    Origin::of(&url).map_err(|error| ProviderError::setting(setting, error.to_string()))?;
    Ok(url)
}

/// A client that signs as `identity` and sends through `http`. What the SDK would do beyond that
/// is off: its retries would multiply ours, its time limits do not know what a first token is, and
/// its protection against stalled streams ends answers whose first token takes long.
pub fn bedrock_client(
    http: SdkHttp,
    identity: Arc<Identity>,
    endpoint: &RuntimeEndpoint,
) -> Result<Client, ProviderError> {
    http.outbound().policy().check(endpoint.url()).map_err(from_http)?;
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .credentials_provider(Signer(identity))
        // The identity is its own cache, and it has to notice when its credentials are refused.
        .identity_cache(IdentityCache::no_cache())
        // Else the SDK would rather use a bearer token, should it ever find one.
        .auth_scheme_preference([AuthSchemeId::from("sigv4")])
        .region(Region::new(endpoint.region.clone()))
        .endpoint_url(endpoint.url.as_str())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Ok(Client::from_conf(config))
}

#[cfg(test)]
mod tests;
