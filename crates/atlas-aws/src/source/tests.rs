//! Which source is chosen, and what each of them says on the wire.

use std::sync::Arc;

use super::*;
use crate::Identity;
use crate::options::{PlatformVariables, credential_origins};
use crate::testing::{Double, LATER, document, keys, outbound, role};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Everything at once, as nobody has it.
fn everything() -> PlatformVariables {
    PlatformVariables {
        relative_uri: some("/v2/credentials/test"),
        full_uri: some("http://169.254.170.23/v1/credentials"),
        web_identity_token_file: Some("/tokens/test".into()),
        role_arn: some("arn:aws:iam::123456789012:role/pod"),
        ..PlatformVariables::default()
    }
}

#[track_caller]
fn chosen(options: &AwsIdentityOptions, name: &str, origin: Option<&str>) {
    let source = Source::choose(options).expect("a source");
    assert_eq!(source.name(), name);
    let asked = source.origin().expect("an origin").map(|origin| origin.to_string());
    assert_eq!(asked.as_deref(), origin);
}

#[test]
fn the_first_configured_source_is_chosen() {
    let mut platform = everything();
    chosen(&role(platform.clone()), "ecs task role", Some("http://169.254.170.2:80"));
    platform.relative_uri = some(" ");
    chosen(&role(platform.clone()), "eks pod identity", Some("http://169.254.170.23:80"));
    platform.full_uri = None;
    chosen(&role(platform.clone()), "web identity (irsa)", Some("https://sts.us-east-1.amazonaws.com:443"));
    platform.web_identity_token_file = None;
    chosen(&role(platform), "instance role", Some("http://169.254.169.254:80"));
}

#[test]
fn access_keys_keep_the_role_out() {
    chosen(&AwsIdentityOptions { platform: everything(), ..keys() }, "access keys", None);
    for broken in [
        AwsIdentityOptions { secret_access_key: None, platform: everything(), ..keys() },
        AwsIdentityOptions { access_key_id: some(""), platform: everything(), ..keys() },
        AwsIdentityOptions { access_key_id: some("AKID TEST"), platform: everything(), ..keys() },
        AwsIdentityOptions { session_token: Some("test-key\nx".into()), platform: everything(), ..keys() },
    ] {
        let error = Source::choose(&broken).expect_err("no fall through to the role");
        assert!(error.named_setting().is_some_and(|name| name.starts_with("BYOC_AWS_")), "{error}");
        assert!(!error.to_string().contains("test-key"), "{error}");
    }
}

#[test]
fn the_role_keeps_access_keys_out() {
    let options = AwsIdentityOptions { use_task_role: true, platform: everything(), ..keys() };
    chosen(&options, "ecs task role", Some("http://169.254.170.2:80"));
}

#[test]
fn nothing_configured_says_what_was_looked_for() {
    let error = Source::choose(&role(PlatformVariables { imds_disabled: true, ..Default::default() }));
    let error = error.expect_err("no source").to_string();
    for name in ["RELATIVE_URI", "FULL_URI", "WEB_IDENTITY_TOKEN_FILE", "EC2_METADATA_DISABLED"] {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn only_the_platform_goes_around_the_policy() {
    let listed = |platform| {
        let origins = credential_origins(&role(platform)).expect("origins");
        (origins.services.len(), origins.platform.len())
    };
    assert_eq!(listed(everything()), (0, 1));
    assert_eq!(listed(PlatformVariables { relative_uri: None, full_uri: None, ..everything() }), (1, 0));
    let https = PlatformVariables { full_uri: some("https://creds.example/x"), ..Default::default() };
    assert_eq!(listed(https), (1, 0));
    assert_eq!(credential_origins(&keys()), Ok(Default::default()));
}

#[track_caller]
fn full_uri(text: &str, name: Option<&str>) {
    let platform = PlatformVariables { full_uri: some(text), ..Default::default() };
    let source = Source::choose(&role(platform));
    assert_eq!(source.as_ref().ok().map(Source::name), name, "{text}");
}

#[test]
fn without_tls_only_known_addresses_are_believed() {
    full_uri("http://169.254.170.23/v1/credentials", Some("eks pod identity"));
    full_uri("http://[fd00:ec2::23]/v1/credentials", Some("eks pod identity"));
    full_uri("http://169.254.170.2/v3", Some("ecs task role"));
    full_uri("http://127.0.0.1:9911/x", Some("container credentials"));
    full_uri("http://[::1]:9911/x", Some("container credentials"));
    full_uri("http://localhost:1/x", Some("container credentials"));
    full_uri("https://creds.example/x", Some("container credentials"));
    for text in
        ["http://creds.example/x", "http://10.0.0.1/", "http://169.254.169.254/", "file:///etc/passwd", "x"]
    {
        full_uri(text, None);
    }
}

#[test]
fn a_relative_uri_is_a_path() {
    for text in ["@evil.example/", "http://evil.example/", ":80@evil.example", ""] {
        let platform = PlatformVariables { relative_uri: some(text), ..Default::default() };
        let asked = Source::choose(&role(platform)).ok().and_then(|source| source.origin().ok().flatten());
        assert!(asked.is_none_or(|origin| origin.host().starts_with("169.254.")), "{text}");
    }
}

#[test]
fn irsa_needs_a_role_and_a_region() {
    let irsa = PlatformVariables { relative_uri: None, full_uri: None, ..everything() };
    let error = Source::choose(&role(PlatformVariables { role_arn: None, ..irsa.clone() }));
    assert_eq!(error.expect_err("no role").named_setting(), Some("AWS_ROLE_ARN"));
    let error = Source::choose(&AwsIdentityOptions { region: None, ..role(irsa) });
    assert_eq!(error.expect_err("no region").named_setting(), Some("BYOC_REGION"));
}

async fn identity(platform: PlatformVariables, services: &[&str]) -> Arc<Identity> {
    let options = role(platform);
    Identity::connect(&options, &outbound(services), Some(&crate::testing::platform(&options)))
        .expect("an identity")
}

/// The error's text, which never holds a secret of these tests.
async fn refusal(identity: &Identity) -> String {
    let error = identity.credentials().await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Credentials, "{error}");
    assert!(!format!("{error} {error:?}").contains("test-key"), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_container_endpoint_gets_its_token() {
    let double = Double::start(|_| (200, document("ASIATESTKEY00001", LATER))).await;
    let platform = PlatformVariables {
        full_uri: Some(double.url("/creds?x=1")),
        auth_token: Some("test-key-auth".into()),
        ..Default::default()
    };
    let identity = identity(platform, &[]).await;
    let credentials = identity.credentials().await.expect("credentials");
    assert_eq!(credentials.access_key_id(), "ASIATESTKEY00001");
    assert_eq!(credentials.session_token(), Some("test-key-token"));
    let report = identity.report().await.expect("a report");
    assert_eq!(
        report.to_string(),
        "container credentials arn:aws:iam::123456789012:role/task, key …0001, until 2999-01-01T00:00:00Z"
    );
    let [seen] = &double.seen()[..] else { panic!("asked once: {:?}", double.lines()) };
    assert_eq!(seen.line, "GET /creds?x=1 HTTP/1.1");
    assert_eq!(seen.header("authorization"), Some("test-key-auth"));
}

#[tokio::test]
async fn a_token_file_goes_first_and_is_read_each_time() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "test-key-one\n").expect("written");
    let double = Double::start(|_| (200, document("ASIATESTKEY00001", LATER))).await;
    let platform = PlatformVariables {
        full_uri: Some(double.url("/")),
        auth_token: Some("test-key-auth".into()),
        auth_token_file: Some(file.path().to_owned()),
        ..Default::default()
    };
    let identity = identity(platform, &[]).await;
    identity.credentials().await.expect("credentials");
    std::fs::write(file.path(), "test-key-two\n").expect("written");
    assert!(identity.renew(identity.generation()));
    identity.credentials().await.expect("credentials");
    let tokens: Vec<_> =
        double.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert_eq!(tokens, [some("test-key-one"), some("test-key-two")]);
}

#[tokio::test]
async fn a_wrong_container_token_is_named_and_the_next_source_is_not_tried() {
    let metadata = Double::start(|_| (200, "t".to_owned())).await;
    let double =
        Double::start(|_| (401, r#"{"code":"AccessDenied","message":"bad token test-key-auth"}"#.into()))
            .await;
    let platform = PlatformVariables {
        full_uri: Some(double.url("/")),
        auth_token: Some("test-key-auth".into()),
        imds_endpoint: Some(metadata.url("")),
        ..Default::default()
    };
    let text = refusal(&*identity(platform, &[]).await).await;
    for word in ["container credentials", "401", "AccessDenied", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(metadata.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn an_endpoint_that_answers_nonsense_is_named() {
    for (body, word) in [
        ("<html>", "not a JSON object"),
        ("[]", "not a JSON object"),
        (r#"{"AccessKeyId":"ASIATEST","Expiration":"2999-01-01T00:00:00Z"}"#, "no SecretAccessKey"),
        (r#"{"Expiration":"tomorrow"}"#, "not a time"),
        (r#"{"Code":"Failed","Message":"no role"}"#, "Failed: no role"),
    ] {
        let double = Double::start(move |_| (200, body.to_owned())).await;
        let platform = PlatformVariables { full_uri: Some(double.url("/")), ..Default::default() };
        let text = refusal(&*identity(platform, &[]).await).await;
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test]
async fn an_absent_token_file_names_the_setting() {
    let platform = PlatformVariables {
        full_uri: some("http://127.0.0.1:1/"),
        auth_token_file: Some("/nowhere/token".into()),
        ..Default::default()
    };
    let text = refusal(&*identity(platform, &[]).await).await;
    assert!(text.contains("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), "{text}");
}

fn metadata_service(seen: &crate::testing::Seen) -> (u16, String) {
    let path = seen.line.split(' ').nth(1).unwrap_or_default();
    match path {
        "/latest/api/token" if seen.line.starts_with("PUT") => (200, "test-key-session".to_owned()),
        _ if seen.header("x-aws-ec2-metadata-token") != Some("test-key-session") => (401, String::new()),
        "/latest/meta-data/iam/security-credentials/" => (200, "test-role".to_owned()),
        "/latest/meta-data/iam/security-credentials/test-role" => {
            let body = document("ASIATESTKEY00002", LATER)
                .replace(r#","RoleArn":"arn:aws:iam::123456789012:role/task""#, "");
            (200, body.replace('{', r#"{"Code":"Success","#))
        }
        _ => (404, String::new()),
    }
}

#[tokio::test]
async fn an_instance_is_asked_by_version_2() {
    let double = Double::start(metadata_service).await;
    for end in ["", "/"] {
        let platform = PlatformVariables { imds_endpoint: Some(double.url(end)), ..Default::default() };
        let report = identity(platform, &[]).await.report().await.expect("a report");
        assert_eq!((report.source, report.role.as_deref()), ("instance role", Some("test-role")));
    }
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    let one = ["PUT /latest/api/token", roles, &format!("{roles}test-role")].map(str::to_owned);
    assert_eq!(double.lines(), [one.clone(), one].concat());
    assert_eq!(double.seen()[0].header("x-aws-ec2-metadata-token-ttl-seconds"), Some("300"));
}

#[tokio::test]
async fn a_metadata_service_of_version_1_is_not_asked() {
    for status in [404, 405, 403] {
        let double = Double::start(move |seen| match seen.line.starts_with("PUT") {
            true => (status, String::new()),
            false => (200, "test-role".to_owned()),
        })
        .await;
        let platform = PlatformVariables { imds_endpoint: Some(double.url("")), ..Default::default() };
        let text = refusal(&*identity(platform, &[]).await).await;
        assert!(text.contains("IMDSv2"), "{text}");
        assert_eq!(double.lines(), ["PUT /latest/api/token"]);
    }
}

#[tokio::test]
async fn an_instance_without_a_role_says_so() {
    let double = Double::start(|seen| match seen.line.starts_with("PUT") {
        true => (200, "t".to_owned()),
        false => (404, String::new()),
    })
    .await;
    let platform = PlatformVariables { imds_endpoint: Some(double.url("")), ..Default::default() };
    let text = refusal(&*identity(platform, &[]).await).await;
    assert!(text.contains("instance profile"), "{text}");
}

#[tokio::test]
async fn a_role_name_cannot_lead_elsewhere() {
    let double = Double::start(|seen| match seen.line.starts_with("PUT") {
        true => (200, "t".to_owned()),
        false => (200, "../../user-data".to_owned()),
    })
    .await;
    let platform = PlatformVariables { imds_endpoint: Some(double.url("")), ..Default::default() };
    refusal(&*identity(platform, &[]).await).await;
    assert_eq!(double.lines().len(), 2);
}

#[tokio::test]
async fn away_from_ec2_the_hint_is_access_keys() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let platform = PlatformVariables { imds_endpoint: Some(url), ..Default::default() };
    let identity = identity(platform, &[]).await;
    assert_eq!(identity.credentials().await.expect_err("nobody there").retry(), Retry::Now);
    let text = refusal(&identity).await;
    assert!(text.contains("access keys") && text.contains("hop limit"), "{text}");
}

const STS: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>\
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/pod/atlasai-byoc</Arn></AssumedRoleUser>\
    <Credentials><SessionToken>test-key-&amp;token</SessionToken><SecretAccessKey>test-key-secret</SecretAccessKey>\
    <Expiration>2999-01-01T00:00:00Z</Expiration><AccessKeyId>ASIATESTKEY00003</AccessKeyId></Credentials>\
    </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";

fn irsa(sts: &Double, token_file: &std::path::Path) -> PlatformVariables {
    PlatformVariables {
        sts_endpoint: Some(sts.url("/")),
        web_identity_token_file: Some(token_file.to_owned()),
        role_arn: some("arn:aws:iam::123456789012:role/pod"),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_service_account_token_is_exchanged_and_read_each_time() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "test-key-jwt.a+b\n").expect("written");
    let sts = Double::start(|_| (200, STS.to_owned())).await;
    let identity = identity(irsa(&sts, file.path()), &[&sts.url("/")]).await;
    let report = identity.report().await.expect("a report");
    assert_eq!(report.source, "web identity (irsa)");
    assert_eq!(report.role.as_deref(), Some("arn:aws:sts::123456789012:assumed-role/pod/atlasai-byoc"));
    let credentials = identity.credentials().await.expect("credentials");
    assert_eq!(credentials.session_token(), Some("test-key-&token"));
    std::fs::write(file.path(), "test-key-second").expect("written");
    assert!(identity.renew(identity.generation()));
    identity.credentials().await.expect("credentials");
    let bodies: Vec<_> = sts.seen().iter().map(|seen| seen.body.clone()).collect();
    let sent = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpod&RoleSessionName=atlasai-byoc&WebIdentityToken=";
    assert_eq!(bodies, [format!("{sent}test-key-jwt.a%2Bb"), format!("{sent}test-key-second")]);
}

#[tokio::test]
async fn a_refusal_of_sts_says_what_to_do() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "test-key-jwt-0001").expect("written");
    for (code, word) in [
        ("AccessDenied", "trust policy"),
        ("InvalidIdentityToken", "identity provider"),
        ("ExpiredTokenException", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ] {
        let body = format!(
            "<ErrorResponse><Error><Code>{code}</Code><Message>no: test-key-jwt-0001</Message></Error></ErrorResponse>"
        );
        let sts = Double::start(move |_| (400, body.clone())).await;
        let text = refusal(&*identity(irsa(&sts, file.path()), &[&sts.url("/")]).await).await;
        assert!(text.contains(code) && text.contains(word), "{text}");
    }
}

#[tokio::test]
async fn sts_is_asked_only_where_the_policy_allows_it() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let sts = Double::start(|_| (200, STS.to_owned())).await;
    let identity = identity(irsa(&sts, file.path()), &[]).await;
    assert_eq!(identity.credentials().await.expect_err("denied").kind(), Kind::Egress);
    assert_eq!(sts.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn the_client_of_requests_cannot_ask_the_platform() {
    let platform = PlatformVariables { relative_uri: some("/v2/credentials/test"), ..Default::default() };
    let allowing = outbound(&["http://169.254.170.2/"]);
    let identity = Identity::connect(&role(platform), &allowing, None).expect("an identity");
    assert_eq!(identity.credentials().await.expect_err("denied").kind(), Kind::Egress);
}
