use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use super::*;

fn read(values: &[(&'static str, &'static str)]) -> Result<Settings, SettingError> {
    Settings::read(&values.iter().copied().collect::<BTreeMap<_, _>>())
}

#[track_caller]
fn check_refused(name: &'static str, value: &'static str, expect: &str) {
    let error = read(&[(name, value)]).expect_err("refused");
    assert_eq!(error.name(), name);
    let text = error.to_string();
    assert!(text.starts_with(name), "{text}");
    assert!(text.contains(expect), "{text}");
}

#[test]
fn nothing_set_is_loopback_local_and_without_ai() {
    let settings = read(&[]).expect("the defaults are usable");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.data_dir.to_str(), Some("./atlas-data"));
    assert_eq!(settings.embedding.provider, "local");
    assert_eq!(settings.log_format, LogFormat::Text);
    assert!(settings.byoc.provider.is_none() && settings.admin_token.is_none());
    assert!(!settings.control_plane.credits_fail_open);
    assert_eq!(settings.origin("TP_LISTEN"), Origin::Default);
}

#[test]
fn every_value_reaches_its_field() {
    let settings = read(&[
        ("TP_LISTEN", "0.0.0.0:9000"),
        ("BYOC_PROVIDER", "OpenAI"),
        ("BYOC_ENDPOINT_URL", "http://10.0.0.5:8000/v1"),
        ("BYOC_MODEL", "gpt-4o-mini"),
        ("AWS_REGION", "eu-central-1"),
        ("TP_BEDROCK_USE_TASK_ROLE", "1"),
        ("EMBEDDING_THREADS", "4"),
        ("EMBEDDING_PRECISION", "Exact"),
        ("TP_LOG_FORMAT", "JSON"),
    ])
    .expect("reads");
    assert_eq!(settings.listen.port(), 9000);
    assert_eq!(settings.byoc.provider.as_deref(), Some("openai"));
    assert_eq!(settings.byoc.endpoint.as_ref().map(|url| url.as_str()), Some("http://10.0.0.5:8000/v1"));
    assert_eq!(settings.byoc.region.as_deref(), Some("eu-central-1"));
    assert!(settings.byoc.bedrock.use_task_role);
    assert_eq!(settings.embedding.threads.map(|threads| threads.get()), Some(4));
    assert_eq!(settings.embedding.precision, "exact");
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.origin("TP_LISTEN"), Origin::Environment);
    assert_eq!(settings.origin("BYOC_API_KEY"), Origin::Default);
}

#[test]
fn the_provider_s_region_comes_before_the_cloud_s() {
    let settings = read(&[("AWS_REGION", "eu-west-1"), ("BYOC_REGION", "us-east-1")]).expect("reads");
    assert_eq!(settings.byoc.region.as_deref(), Some("us-east-1"));
}

#[test]
fn a_blank_value_counts_as_not_set_and_surrounding_space_is_dropped() {
    let settings = read(&[("BYOC_PROVIDER", "  "), ("BYOC_API_KEY", "abc\n")]).expect("reads");
    assert!(settings.byoc.provider.is_none());
    assert_eq!(settings.byoc.api_key.as_ref().map(ExposeSecret::expose_secret), Some("abc"));
}

#[test]
fn a_wrong_value_is_refused_with_the_variable_and_the_fix() {
    check_refused("TP_LISTEN", "8080", "127.0.0.1:8080");
    check_refused("TP_LISTEN", "localhost:8080", "IP address");
    check_refused("EMBEDDING_THREADS", "0", "1 to 256");
    check_refused("EMBEDDING_THREADS", "many", "1 to 256");
    check_refused("EMBEDDING_PRECISION", "bf16", "auto or f32 or exact or fast or max");
    check_refused("TP_LOG_FORMAT", "xml", "text or json");
    check_refused("TP_DEPLOYMENT", "moon", "cloud or on_prem or air_gapped");
    check_refused("TP_EGRESS", "all", "settings or private or off");
    check_refused("BYOC_API", "v1", "auto or chat or responses");
    check_refused("TP_BEDROCK_USE_TASK_ROLE", "maybe", "true or false");
    check_refused("BYOC_CONTEXT_TOKENS", "511", "512 or more");
    check_refused("EMBEDDING_DIMENSIONS", "0", "1 to 65536");
    check_refused("BYOC_AZURE_API_VERSION", "v1", "2024-10-21");
    check_refused("BYOC_AZURE_API_VERSION", "2024-1-021", "2024-10-21");
    check_refused("BYOC_AUTH_HEADER", "api key", "api-key");
    check_refused("BYOC_AUTH_HEADER", "Content-Length", "api-key");
    check_refused("BYOC_CA_BUNDLE", "/nowhere/ca.pem", "/nowhere/ca.pem");
    check_refused("BYOC_PROXY_URL", "http://proxy:3128/path", "end it with the port");
    check_refused("BYOC_PROXY_URL", "socks5://proxy:1080", "http or https");
    check_refused("BYOC_ENDPOINT_URL", "api.openai.com", "https://");
    check_refused("BYOC_ENDPOINT_URL", "file:///etc/passwd", "http or https");
    check_refused("BYOC_ENDPOINT_URL", "https://h/v1?key=1", "query");
    check_refused("CP_ENDPOINT_URL", "https://user:pw@h/", "password");
}

#[test]
fn an_error_never_repeats_a_secret() {
    for setting in SETTINGS.iter().filter(|setting| setting.secret) {
        let error = read(&[(setting.name, "hunter2\nhunter2")]).expect_err("a line break is refused");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let error = read(&[("BYOC_ENDPOINT_URL", "https://me:hunter2@host/")]).expect_err("refused");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn debug_output_shows_no_secret() {
    let value = |name| if name == "BYOC_PROXY_URL" { "http://me:hunter2@proxy" } else { "hunter2hunter2" };
    let secrets: Vec<_> = SETTINGS.iter().filter(|s| s.secret).map(|s| (s.name, value(s.name))).collect();
    let settings = read(&secrets).expect("reads");
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    let shown = serde_json::to_string(&settings.shown()).expect("JSON");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(shown.matches("set (fingerprint ").count(), secrets.len());
}

/// A source that remembers what was asked of it.
struct Listening(RefCell<BTreeSet<String>>);

impl Source for Listening {
    fn get(&self, name: &str) -> Result<Option<String>, SettingError> {
        self.0.borrow_mut().insert(name.to_owned());
        Ok(None)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn the_list_and_the_reader_know_the_same_settings() {
    let source = Listening(RefCell::default());
    Settings::read(&source).expect("the defaults are usable");
    let listed: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    assert_eq!(source.0.into_inner(), listed);
}

#[test]
fn a_misspelt_variable_is_reported() {
    let settings = read(&[("BYOC_PROVDER", "openai"), ("PATH", "/bin"), ("BYOC_MODEL", "m")]).expect("reads");
    assert_eq!(settings.unknown, ["BYOC_PROVDER"]);
}

#[test]
fn the_command_line_comes_before_the_environment() {
    let mut settings = read(&[("TP_LISTEN", "127.0.0.1:1")]).expect("reads");
    settings.override_listen("127.0.0.1:2".parse().expect("an address"));
    settings.override_data_dir("/elsewhere".into());
    assert_eq!(settings.listen.port(), 2);
    assert_eq!(settings.origin("TP_LISTEN"), Origin::CommandLine);
    assert_eq!(settings.origin("TP_DATA_DIR"), Origin::CommandLine);
}

#[track_caller]
fn check_fail_open(written: &'static str, on: bool, warned: bool) {
    let settings = read(&[("AI_CREDITS_FAIL_OPEN", written)]).expect("reads");
    assert_eq!(settings.control_plane.credits_fail_open, on, "{written:?}");
    assert_eq!(settings.warnings.len(), usize::from(warned), "{written:?}");
}

#[test]
fn only_exactly_1_lets_the_managed_ai_answer() {
    check_fail_open("1", true, false);
    for off in ["", "0"] {
        check_fail_open(off, false, false);
    }
    for unclear in ["true", "1 ", " 1", "1\n", "01", "yes", " "] {
        check_fail_open(unclear, false, true);
    }
}

#[track_caller]
fn check_duration(written: &'static str, seconds: u64) {
    let settings = read(&[("BYOC_IDLE_TIMEOUT", written)]).expect("reads");
    assert_eq!(settings.network.idle_timeout, Duration::from_secs(seconds));
}

#[test]
fn a_duration_is_seconds_or_says_its_unit() {
    check_duration("90", 90);
    check_duration("90s", 90);
    check_duration("2m", 120);
    for wrong in ["0", "-1", "1.5", "2 m", "m", "1441m", "99999999999999999999", "18446744073709551615m"] {
        let error = read(&[("BYOC_IDLE_TIMEOUT", wrong)]).expect_err(wrong);
        assert_eq!(error.name(), "BYOC_IDLE_TIMEOUT");
    }
    let defaults = read(&[]).expect("reads").network;
    assert_eq!(defaults.first_token_timeout, None);
    assert_eq!((defaults.idle_timeout.as_secs(), defaults.request_timeout.as_secs()), (60, 600));
}

#[test]
fn a_feature_uses_its_own_model_or_the_common_one() {
    let models = read(&[("BYOC_MODEL", "big"), ("BYOC_MODEL_SEARCH", "small")]).expect("reads").byoc.models;
    assert_eq!(models.search.as_deref(), Some("small"));
    for common in [models.rca, models.runbook, models.copilot] {
        assert_eq!(common.as_deref(), Some("big"));
    }
}

#[test]
fn the_new_values_reach_their_fields() {
    let settings = read(&[
        ("TP_DEPLOYMENT", "AIR_GAPPED"),
        ("TP_EGRESS", "private"),
        ("BYOC_API", "responses"),
        ("BYOC_AZURE_API_VERSION", "2025-01-01-preview"),
        ("BYOC_CONTEXT_TOKENS", "8192"),
        ("BYOC_AUTH_HEADER", "api-key"),
        ("BYOC_PROXY_URL", "http://me:secret@proxy:3128"),
        ("EMBEDDING_DIMENSIONS", "256"),
        ("AWS_REGION", "eu-central-1"),
        ("ATLASAI_PLAN", "Operations"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc"),
        ("AWS_EC2_METADATA_DISABLED", "TRUE"),
    ])
    .expect("reads");
    assert_eq!(settings.deployment, Deployment::AirGapped);
    assert_eq!(settings.network.egress, EgressMode::Private);
    assert_eq!(settings.byoc.api, ApiChoice::Responses);
    assert_eq!(settings.byoc.azure_api_version.as_deref(), Some("2025-01-01-preview"));
    assert_eq!(settings.byoc.context_tokens, Some(8192));
    assert_eq!(settings.byoc.auth_header.as_deref(), Some("api-key"));
    let proxy = settings.network.proxy_url.as_ref().map(ExposeSecret::expose_secret);
    assert_eq!(proxy, Some("http://me:secret@proxy:3128/"));
    assert_eq!(settings.embedding.dimensions.map(|n| n.get()), Some(256));
    assert_eq!(settings.embedding.region.as_deref(), Some("eu-central-1"));
    assert_eq!(settings.control_plane.plan, "operations");
    assert!(settings.aws.container_authorization_token.is_some() && settings.aws.ec2_metadata_disabled);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let values = BTreeMap::from([("TP_LISTEN", "x"), ("BYOC_API", "y"), ("CP_ENDPOINT_URL", "z")]);
    let errors = Settings::check(&values);
    let names: BTreeSet<&str> = errors.iter().map(SettingError::name).collect();
    assert_eq!(names, BTreeSet::from(["BYOC_API", "CP_ENDPOINT_URL", "TP_LISTEN"]));
    assert_eq!(Settings::check(&BTreeMap::from([("BYOC_API", "chat")])), []);
}

#[test]
fn the_list_and_the_reader_accept_the_same_words() {
    for setting in SETTINGS {
        let Form::OneOf(words) = setting.form else { continue };
        for word in words {
            assert!(read(&[(setting.name, word)]).is_ok(), "{} {word}", setting.name);
        }
        let error = read(&[(setting.name, "neither")]).expect_err("refused").to_string();
        assert!(error.ends_with(&format!("use {}", words.join(" or "))), "{error}");
        assert!(words.contains(&setting.default));
    }
}

#[test]
fn a_client_certificate_needs_its_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, name).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let both = BTreeMap::from([("BYOC_CLIENT_CERT", cert.as_str()), ("BYOC_CLIENT_KEY", key.as_str())]);
    let identity = Settings::read(&both).expect("reads").network.client_identity.expect("both are set");
    assert_eq!((&*identity.cert.bytes, &*identity.key.bytes), (&b"cert.pem"[..], &b"key.pem"[..]));
    assert!(!format!("{identity:?}").contains("107"), "the key's bytes: {identity:?}");
    let one = BTreeMap::from([("BYOC_CLIENT_CERT", cert.as_str())]);
    let errors = Settings::check(&one);
    assert_eq!(errors.iter().map(SettingError::name).collect::<Vec<_>>(), ["BYOC_CLIENT_CERT"]);
}

#[test]
fn what_changed_is_named() {
    let before = read(&[("BYOC_API_KEY", "test-key-1"), ("BYOC_MODEL", "m")]).expect("reads");
    let after = read(&[("BYOC_API_KEY", "test-key-2"), ("BYOC_MODEL", "m")]).expect("reads");
    assert_eq!(after.changed_since(&before), ["BYOC_API_KEY"]);
    assert!(after.changed_since(&after).is_empty());
}
