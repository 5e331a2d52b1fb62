//! Labels with their settings: addresses, and what cannot work.

use std::sync::Arc;

use atlas_aws::AwsIdentityOptions;
use atlas_domain::{Destination, DestinationClass};
use atlas_guard::Guard;
use atlas_http::{ConnectOptions, EgressPolicy, Ledger, Outbound};
use atlas_llm::{ChatRequest, Message, ProviderError, ProviderErrorKind as Kind};
use secrecy::SecretString;

use crate::fixture_tests as fixtures;
use crate::{Catalog, Options, Sockets};

/// The tables of addresses.
pub(crate) const TABLES: [&str; 2] = ["openai/urls.json", "azure/urls.json"];

pub(crate) const KEY: &str = "test-canary-Zq81hdVw90";

pub(crate) fn options(endpoint_url: Option<&str>, key: Option<&str>) -> Options {
    Options {
        endpoint_url: endpoint_url.map(str::to_owned),
        api_key: key.map(SecretString::from),
        catalog: Arc::new(Catalog::shipped()),
        ..Options::default()
    }
}

/// Sockets that reach what these options call.
pub(crate) fn sockets(label: &str, options: &Options) -> Sockets {
    let calls = crate::origins(label, options).map(|origins| origins.calls).unwrap_or_default();
    sockets_to(EgressPolicy::allow(calls))
}

pub(crate) fn sockets_to(policy: EgressPolicy) -> Sockets {
    let calls = Outbound::new(policy, &ConnectOptions::default(), Arc::new(Ledger::new())).expect("a client");
    Sockets { calls, credentials: None }
}

fn connect(label: &str, options: Options, model: &str) -> Result<(), ProviderError> {
    let sockets = sockets(label, &options);
    crate::provider(label, options, sockets)?.connect(model).map(|_| ())
}

#[track_caller]
fn refused(label: &str, options: Options) -> &'static str {
    let error = connect(label, options, "m").expect_err("it cannot work");
    assert!(!format!("{error} {error:?}").contains(KEY), "{error}");
    error.named_setting().unwrap_or_else(|| panic!("{error}"))
}

#[test]
fn settings_that_cannot_work_are_named() {
    assert_eq!(refused("openai", options(None, None)), "BYOC_API_KEY");
    assert_eq!(refused("openai", options(Some("https://eu.api.openai.com"), Some(" "))), "BYOC_API_KEY");
    assert_eq!(refused("azure", options(Some("https://a.openai.azure.com"), None)), "BYOC_API_KEY");
    for label in ["azure", "vllm", "tgi", "compatible"] {
        assert_eq!(refused(label, options(None, Some(KEY))), "BYOC_ENDPOINT_URL", "{label}");
        for base in ["vllm:8000", "ftp://a/", "http://user:pw@a/v1", "  "] {
            assert_eq!(refused(label, options(Some(base), Some(KEY))), "BYOC_ENDPOINT_URL", "{label} {base}");
        }
    }
    assert_eq!(refused("openai", options(None, Some("line\nbreak"))), "BYOC_API_KEY");
    let header = Options { auth_header: Some("no header".into()), ..options(Some("http://a:1"), Some(KEY)) };
    assert_eq!(refused("compatible", header), "BYOC_AUTH_HEADER");
    let organization = Options { organization: Some("a\nb".into()), ..options(None, Some(KEY)) };
    assert_eq!(refused("openai", organization), "BYOC_API_KEY_ORG");
}

#[test]
fn a_model_must_be_named_except_where_there_is_one_only() {
    for label in ["vllm", "compatible"] {
        let error = connect(label, options(Some("http://a:1"), None), " ").expect_err("no model");
        assert_eq!(error.named_setting(), Some("BYOC_MODEL"), "{label}");
    }
    connect("tgi", options(Some("http://a:1"), None), "").expect("TGI serves one model");
}

#[test]
fn an_endpoint_outside_the_policy_does_not_connect() {
    let closed = sockets_to(EgressPolicy::default());
    let refused = crate::provider("vllm", options(Some("http://127.0.0.1:9/v1"), None), closed);
    assert_eq!(refused.err().expect("refused").code(), "egress_denied");
}

#[tokio::test]
async fn a_text_that_was_cleared_for_elsewhere_is_not_sent() {
    let elsewhere = Destination::host(DestinationClass::Public, "elsewhere.example");
    for label in crate::labels() {
        let aws = AwsIdentityOptions {
            region: Some("us-east-1".into()),
            access_key_id: Some("AKIDTESTKEY00001".into()),
            secret_access_key: Some("test-key-secret".into()),
            ..AwsIdentityOptions::default()
        };
        let options = Options { aws, ..options(Some("http://127.0.0.1:9"), Some(KEY)) };
        let sockets = sockets(label, &options);
        let provider = crate::provider(label, options, sockets).expect("usable");
        let model = provider.connect("m").expect("usable");
        let request = ChatRequest { messages: vec![Message::user("secret plans")], ..ChatRequest::default() };
        let cleared = Guard::new().clear(request, &elsewhere).expect("allowed");
        let refused = model.stream(cleared).await.err().expect("refused");
        assert_eq!(refused.kind(), Kind::Egress, "{label}");
    }
}

#[test]
fn every_label_names_the_origins_it_calls() {
    let origin = |label, url| {
        let origins = crate::origins(label, &options(url, None)).expect("usable");
        origins.calls.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(origin("openai", None), ["https://api.openai.com:443"]);
    assert_eq!(origin("openai", Some("http://gw:8000/x")), ["http://gw:8000"]);
    assert_eq!(
        origin("azure", Some("https://a.openai.azure.com/openai")),
        ["https://a.openai.azure.com:443"]
    );
    assert_eq!(origin("vllm", Some("http://vllm:8000")), ["http://vllm:8000"]);
}

#[test]
fn addresses_of_openai_follow_the_rule_table() {
    for case in fixtures::json(TABLES[0])["cases"].as_array().expect("cases") {
        let operation = match case["operation"].as_str().expect("an operation") {
            "chat" => "chat/completions",
            other => other,
        };
        let base = atlas_vendor::openai_base(case["base"].as_str().expect("a base"), "x").expect("usable");
        assert_eq!(Some(url_of(base, operation).as_str()), case["url"].as_str());
    }
}

#[test]
fn addresses_of_azure_follow_the_rule_table() {
    for case in fixtures::json(TABLES[1])["cases"].as_array().expect("cases") {
        let text = |member: &str| case[member].as_str().expect("text");
        let operation = match text("operation") {
            "chat" => "chat/completions",
            other => other,
        };
        let address = atlas_vendor::AzureAddress::new(text("endpoint"), case["api_version"].as_str(), "x")
            .expect("usable");
        assert_eq!(address.is_classic(), case["api"] == "classic");
        let operation = address.operation(text("deployment"), operation);
        assert_eq!(url_of(address.base().clone(), &operation).as_str(), text("url"), "{case}");
    }
}

fn url_of(base: atlas_http::Url, operation: &str) -> atlas_http::Url {
    let origin = atlas_http::Origin::of(&base).expect("an origin");
    let endpoint = atlas_vendor::Endpoint::new(atlas_vendor::EndpointOptions {
        base,
        key: None,
        key_setting: "BYOC_API_KEY",
        key_header: None,
        headers: Vec::new(),
        limits: atlas_http::Limits::default(),
        outbound: sockets_to(EgressPolicy::allow([origin])).calls,
    });
    endpoint.expect("usable").url(operation)
}

#[test]
fn nothing_printable_holds_the_key() {
    let options = options(None, Some(KEY));
    let printed = format!("{options:?}");
    let provider = crate::provider("openai", options.clone(), sockets("openai", &options)).expect("usable");
    let error = provider.connect("").err().expect("no model");
    assert!(!format!("{printed} {error:?} {error}").contains(KEY));
}
