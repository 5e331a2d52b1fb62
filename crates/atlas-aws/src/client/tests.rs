//! The SDK over our connections, against a server on loopback.

use std::sync::Arc;

use atlas_domain::{ProviderErrorKind as Kind, Retry};
use atlas_http::{ConnectOptions, EgressPolicy, Ledger, Limits, Outbound};
use atlas_vendor::Scrubber;
use aws_sdk_bedrockruntime::operation::invoke_model::InvokeModelOutput;

use super::*;
use crate::failure::{explain, is_expired};
use crate::testing::{Double, keys, outbound, role};
use crate::{AwsIdentityOptions, PlatformVariables};

fn endpoint(url: &str) -> RuntimeEndpoint {
    let (region, url) = ("eu-central-1".to_owned(), url.to_owned());
    RuntimeEndpoint::new(Some(&region), Some(&url), false).expect("an endpoint")
}

fn client(options: &AwsIdentityOptions, url: &str, allowed: &[&str]) -> Result<Client, ProviderError> {
    let outbound = outbound(allowed);
    let platform = crate::testing::platform(options);
    let identity = Identity::connect(options, &outbound, Some(&platform)).expect("an identity");
    bedrock_client(SdkHttp::new(outbound, "embed", Limits::default()), identity, &endpoint(url))
}

async fn invoke(client: &Client) -> Result<InvokeModelOutput, ProviderError> {
    let body = aws_sdk_bedrockruntime::primitives::Blob::new(r#"{"inputText":"x"}"#);
    let sent = client.invoke_model().model_id("amazon.titan-embed-text-v2:0").body(body).send().await;
    sent.map_err(|error| explain(&error, &Scrubber::default()))
}

#[tokio::test]
async fn a_request_is_signed_for_the_host_it_goes_to() {
    let double = Double::start(|_| (200, "{}".to_owned())).await;
    let client = client(&keys(), &double.url("/"), &[&double.url("/")]).expect("a client");
    let output = invoke(&client).await.expect("an answer");
    assert_eq!(output.body().as_ref(), b"{}");
    let [seen] = &double.seen()[..] else { panic!("one request: {:?}", double.lines()) };
    assert_eq!(seen.line, "POST /model/amazon.titan-embed-text-v2%3A0/invoke HTTP/1.1");
    assert_eq!(seen.body, r#"{"inputText":"x"}"#);
    assert_eq!(seen.header("host"), double.url("").strip_prefix("http://"));
    let signature = seen.header("authorization").expect("signed");
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDTESTKEY00001/"), "{signature}");
    assert!(signature.contains("/eu-central-1/bedrock/aws4_request"), "{signature}");
    assert!(signature.contains("SignedHeaders=") && signature.contains("host;"), "{signature}");
}

#[tokio::test]
async fn a_failure_is_not_repeated_by_the_sdk() {
    let double = Double::start(|_| (503, r#"{"message":"away"}"#.to_owned())).await;
    let client = client(&keys(), &double.url("/"), &[&double.url("/")]).expect("a client");
    let error = invoke(&client).await.expect_err("refused");
    assert_eq!((error.kind(), error.status(), error.detail()), (Kind::Overloaded, Some(503), "away"));
    assert_eq!(double.lines().len(), 1);
}

#[tokio::test]
async fn a_connection_failure_comes_back_as_it_was() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    drop(listener);
    let client = client(&keys(), &url, &[&url]).expect("a client");
    let error = invoke(&client).await.expect_err("nobody there");
    assert_eq!((error.kind(), error.retry()), (Kind::Network, Retry::Now), "{error}");
    assert!(error.detail().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn an_endpoint_outside_the_policy_is_refused_before_anything_is_sent() {
    let error = client(&keys(), "https://bedrock.example/", &[]).expect_err("denied");
    assert_eq!(error.kind(), Kind::Egress);
}

#[tokio::test]
async fn a_failing_identity_is_named_and_nothing_is_sent() {
    let double = Double::start(|_| (403, String::new())).await;
    let platform = PlatformVariables { full_uri: Some(double.url("/creds")), ..Default::default() };
    let client = client(&role(platform), &double.url("/"), &[&double.url("/")]).expect("a client");
    let error = invoke(&client).await.expect_err("no credentials");
    assert_eq!(error.kind(), Kind::Credentials);
    assert!(error.detail().contains("container credentials"), "{error}");
    assert_eq!(double.lines(), ["GET /creds"]);
}

#[tokio::test]
async fn expired_credentials_are_recognised() {
    let double =
        Double::start(|_| (403, r#"{"__type":"ExpiredTokenException","message":"expired"}"#.into())).await;
    let client = client(&keys(), &double.url("/"), &[&double.url("/")]).expect("a client");
    let error = client.invoke_model().model_id("m").send().await.expect_err("refused");
    assert!(is_expired(&error));
    assert_eq!(explain(&error, &Scrubber::default()).kind(), Kind::Credentials);
}

#[tokio::test]
async fn a_refused_signature_shows_no_canonical_request() {
    let body = r#"{"__type":"InvalidSignatureException","message":"The request signature does not match.\n\nThe Canonical String was\nx-amz-security-token:canary"}"#;
    let double = Double::start(move |_| (403, body.to_owned())).await;
    let client = client(&keys(), &double.url("/"), &[&double.url("/")]).expect("a client");
    let error = invoke(&client).await.expect_err("refused");
    assert_eq!(error.detail(), "The request signature does not match.");
}

#[tokio::test]
async fn requests_are_counted_like_any_other() {
    let double = Double::start(|_| (200, "{}".to_owned())).await;
    let ledger = Arc::new(Ledger::new());
    let endpoint = endpoint(&double.url("/"));
    let policy = EgressPolicy::allow([endpoint.origin().clone()]);
    let outbound = Outbound::new(policy, &ConnectOptions::default(), Arc::clone(&ledger)).expect("a client");
    let identity = Identity::connect(&keys(), &outbound, None).expect("an identity");
    let http = SdkHttp::new(outbound, "embed", Limits::default());
    invoke(&bedrock_client(http, identity, &endpoint).expect("a client")).await.expect("an answer");
    let [entry] = &ledger.list()[..] else { panic!("{:?}", ledger.list()) };
    assert_eq!((entry.purpose, entry.requests, entry.bytes_out), ("embed", 1, 17));
}

#[test]
fn a_vpc_endpoint_replaces_the_regions_host() {
    let region = "us-west-2".to_owned();
    let url = "https://vpce-0-a.bedrock-runtime.us-west-2.vpce.amazonaws.com".to_owned();
    let endpoint = RuntimeEndpoint::new(Some(&region), Some(&url), false).expect("an endpoint");
    assert_eq!(endpoint.origin().host(), "vpce-0-a.bedrock-runtime.us-west-2.vpce.amazonaws.com");
    let blank = String::new();
    let endpoint = RuntimeEndpoint::new(Some(&region), Some(&blank), false).expect("an endpoint");
    assert_eq!(endpoint.origin().to_string(), "https://bedrock-runtime.us-west-2.amazonaws.com:443");
    for bad in ["vpce", "https://h.example/?x=1", "ftp://h.example", "https://u:p@h.example"] {
        let error = RuntimeEndpoint::new(Some(&region), Some(&bad.to_owned()), false).expect_err("no URL");
        assert_eq!(error.named_setting(), Some("BYOC_ENDPOINT_URL"), "{bad}");
    }
}

#[tokio::test]
async fn a_refusal_in_xml_is_read_too() {
    let body = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Check your key.</Message></Error></ErrorResponse>";
    let double = Double::start(move |_| (403, body.to_owned())).await;
    let client = client(&keys(), &double.url("/"), &[&double.url("/")]).expect("a client");
    let error = invoke(&client).await.expect_err("refused");
    assert_eq!((error.kind(), error.detail()), (Kind::Credentials, "Check your key."));
}
