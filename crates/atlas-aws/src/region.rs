//! Regions, and the names of AWS's hosts in them.

use atlas_domain::ProviderError;
use aws_sdk_bedrockruntime::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use futures_util::FutureExt;
use url::Url;

use crate::options::present;

/// The region, if there is one and it looks like one. Whether it exists is AWS's to say.
pub(crate) fn check(region: Option<&String>) -> Result<&str, ProviderError> {
    let unusable = |reason: &str| ProviderError::setting("BYOC_REGION", reason);
    let region = present(region).ok_or_else(|| {
        unusable("AWS needs a region and none is set: set BYOC_REGION or AWS_REGION, such as us-east-1 (ECS sets it only if the task definition does)")
    })?;
    let parts: Vec<&str> = region.split('-').collect();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match parts.split_last() {
        Some((last, names)) if names.len() >= 2 && names.iter().all(letters) && number(last) => Ok(region),
        _ => Err(unusable("it is not a region's name; one looks like us-east-1")),
    }
}

/// `https://bedrock-runtime.{region}.…` as the SDK's partition table has it: China and the
/// isolated partitions have domains of their own.
pub(crate) fn bedrock_runtime(region: &str, use_fips: bool) -> Result<Url, ProviderError> {
    let unusable = || ProviderError::setting("BYOC_REGION", "the region has no Bedrock endpoint");
    let params = Params::builder().region(region.to_owned()).use_fips(use_fips).build();
    let params = params.map_err(|_| unusable())?;
    // The resolver is a table behind a future that is always ready.
    let endpoint = DefaultResolver::new().resolve_endpoint(&params).now_or_never();
    let endpoint = endpoint.and_then(Result::ok).ok_or_else(unusable)?;
    Url::parse(endpoint.url()).map_err(|_| unusable())
}

/// The regional STS endpoint: the global one is one region's outage away from all others.
pub(crate) fn sts(region: &str) -> Result<Url, ProviderError> {
    let runtime = bedrock_runtime(region, false)?;
    let unusable = || ProviderError::setting("BYOC_REGION", "the region has no STS endpoint");
    let host = runtime.host_str().ok_or_else(unusable)?;
    let domain = host.strip_prefix("bedrock-runtime.").ok_or_else(unusable)?;
    Url::parse(&format!("https://sts.{domain}/")).map_err(|_| unusable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn hosts(region: &str, runtime: &str, sts_host: &str) {
        let region = region.to_owned();
        let region = check(Some(&region)).expect("a region");
        assert_eq!(bedrock_runtime(region, false).expect("a host").host_str(), Some(runtime));
        assert_eq!(sts(region).expect("a host").host_str(), Some(sts_host));
    }

    #[test]
    fn every_partition_has_its_own_names() {
        hosts("us-east-1", "bedrock-runtime.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com");
        hosts("cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn");
        hosts(
            "us-gov-west-1",
            "bedrock-runtime.us-gov-west-1.amazonaws.com",
            "sts.us-gov-west-1.amazonaws.com",
        );
        hosts("us-iso-east-1", "bedrock-runtime.us-iso-east-1.c2s.ic.gov", "sts.us-iso-east-1.c2s.ic.gov");
    }

    #[test]
    fn fips_is_another_host() {
        let url = bedrock_runtime("us-gov-west-1", true).expect("a host");
        assert_eq!(url.host_str(), Some("bedrock-runtime-fips.us-gov-west-1.amazonaws.com"));
    }

    #[test]
    fn an_absent_region_names_the_settings() {
        for absent in [None, Some(String::new()), Some("  ".to_owned())] {
            let error = check(absent.as_ref()).expect_err("no region");
            assert_eq!(error.named_setting(), Some("BYOC_REGION"));
            assert!(error.to_string().contains("AWS_REGION"), "{error}");
        }
    }

    #[test]
    fn a_region_cannot_smuggle_a_host() {
        for text in [
            "us-east-1.evil.example",
            "us-east-1/",
            "US-EAST-1",
            "useast1",
            "us-east",
            "us--1",
            "-1",
            "a@b-c-1",
        ] {
            assert!(check(Some(&text.to_owned())).is_err(), "{text}");
        }
    }
}
