use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

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
        ("TP_LOG_FORMAT", "JSON"),
    ])
    .expect("reads");
    assert_eq!(settings.listen.port(), 9000);
    assert_eq!(settings.byoc.provider.as_deref(), Some("openai"));
    assert_eq!(settings.byoc.endpoint.as_ref().map(|url| url.as_str()), Some("http://10.0.0.5:8000/v1"));
    assert_eq!(settings.byoc.region.as_deref(), Some("eu-central-1"));
    assert!(settings.byoc.bedrock.use_task_role);
    assert_eq!(settings.embedding.threads.map(|threads| threads.get()), Some(4));
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
    check_refused("TP_LOG_FORMAT", "xml", "text or json");
    check_refused("AI_CREDITS_FAIL_OPEN", "maybe", "true or false");
    check_refused("BYOC_ENDPOINT_URL", "api.openai.com", "https://");
    check_refused("BYOC_ENDPOINT_URL", "file:///etc/passwd", "http or https");
    check_refused("BYOC_ENDPOINT_URL", "https://h/v1?key=1", "query");
    check_refused("CP_ENDPOINT_URL", "https://user:pw@h/", "password");
}

#[test]
fn an_error_never_repeats_a_secret() {
    for setting in SETTINGS.iter().filter(|setting| setting.secret) {
        let error = read(&[(setting.name, "hunter2 hunter2")]).expect_err("a space is refused");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let error = read(&[("BYOC_ENDPOINT_URL", "https://me:hunter2@host/")]).expect_err("refused");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn debug_output_shows_no_secret() {
    let secrets: Vec<_> = SETTINGS.iter().filter(|s| s.secret).map(|s| (s.name, "hunter2hunter2")).collect();
    let settings = read(&secrets).expect("reads");
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
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
