use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use secrecy::ExposeSecret;

use super::*;
use crate::Settings;
use crate::testing::Mount;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, value: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, value).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }
}

#[track_caller]
fn check_refused(environment: &[(&str, &str)], name: &str, expect: &str) {
    let gathered = Sources::new(environment.iter().copied()).read();
    let errors = Settings::check(&gathered);
    let [error] = errors.as_slice() else { panic!("one error: {errors:?}") };
    assert_eq!(error.name(), name);
    assert!(error.to_string().contains(expect), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[track_caller]
fn model(environment: &[(&str, &str)]) -> (Option<String>, Origin) {
    let settings =
        Settings::read(&Sources::new(environment.iter().copied()).read()).expect("usable settings");
    let origin = settings.origin("BYOC_MODEL");
    (settings.byoc.model, origin)
}

#[test]
fn the_directory_comes_before_the_file_and_the_file_before_the_environment() {
    let (place, dir) = (Place::new(), Place::new());
    let env_file = place.write("atlas.env", "# models\nBYOC_MODEL=from-file\n");
    let path = PathBuf::from(dir.write("BYOC_MODEL", "from-dir\n"));
    let all =
        [("TP_SETTINGS_DIR", dir.path()), ("TP_ENV_FILE", env_file.as_str()), ("BYOC_MODEL", "from-env")];
    assert_eq!(model(&all), (Some("from-dir".to_owned()), Origin::SettingsDir { path }));
    let origin = Origin::EnvFile { path: env_file.clone().into(), line: 2 };
    assert_eq!(model(&all[1..]), (Some("from-file".to_owned()), origin));
    assert_eq!(model(&all[2..]), (Some("from-env".to_owned()), Origin::Environment));
    assert_eq!(model(&[]), (None, Origin::Default));
}

#[test]
fn a_blank_value_leaves_the_word_to_the_next_place() {
    let dir = Place::new();
    dir.write("BYOC_MODEL", "\n");
    let (model, origin) = model(&[("TP_SETTINGS_DIR", dir.path()), ("BYOC_MODEL", "from-env")]);
    assert_eq!((model.as_deref(), origin), (Some("from-env"), Origin::Environment));
}

#[test]
fn a_blank_file_switches_fail_open_off() {
    let dir = Place::new();
    let fail_open = || {
        let sources = Sources::new([("TP_SETTINGS_DIR", dir.path()), ("AI_CREDITS_FAIL_OPEN", "1")]);
        Settings::read(&sources.read()).expect("usable settings").control_plane.credits_fail_open
    };
    assert!(fail_open());
    dir.write("AI_CREDITS_FAIL_OPEN", "\n");
    assert!(!fail_open());
    dir.write("AI_CREDITS_FAIL_OPEN", "1 \n");
    assert!(!fail_open());
    dir.write("AI_CREDITS_FAIL_OPEN", "1\n");
    assert!(fail_open());
}

#[test]
fn the_sources_are_named_with_what_they_hold() {
    let (place, mount) = (Place::new(), Mount::new());
    mount.swap(7, &[("BYOC_API_KEY", "test-key"), ("BYOC_MODEL", "m")]);
    let env_file = place.write("atlas.env", "BYOC_REGION=eu-west-1\nOTHER=1\n");
    let environment = [("TP_SETTINGS_DIR", mount.path()), ("TP_ENV_FILE", &env_file)];
    let gathered = Sources::new(environment).read();
    let told: Vec<_> =
        gathered.sources().iter().map(|it| (it.kind, it.values, it.generation.as_deref())).collect();
    assert_eq!(told, [("settings_dir", 2, Some("..7")), ("env_file", 1, None), ("environment", 2, None)]);
}

#[test]
fn a_key_may_stand_in_a_file_of_its_own() {
    let place = Place::new();
    let path = place.write("key", "test-key\r\n");
    let sources = Sources::new([("BYOC_API_KEY_FILE", path.as_str())]);
    let settings = Settings::read(&sources.read()).expect("usable settings");
    assert_eq!(settings.byoc.api_key.as_ref().map(ExposeSecret::expose_secret), Some("test-key"));
    let named_in = Box::new(Origin::Environment);
    assert_eq!(settings.origin("BYOC_API_KEY"), Origin::NamedFile { path: path.into(), named_in });
    assert_eq!(settings.unknown, Vec::<String>::new());
}

#[test]
fn a_value_and_its_file_at_one_place_are_an_error_and_at_two_places_are_not() {
    let place = Place::new();
    let path = place.write("key", "from-file");
    let both = [("BYOC_MODEL", "direct"), ("BYOC_MODEL_FILE", path.as_str())];
    check_refused(&both, "BYOC_MODEL", "BYOC_MODEL and BYOC_MODEL_FILE are both set");
    let dir = Place::new();
    dir.write("BYOC_MODEL_FILE", &path);
    let (model, _) = model(&[("TP_SETTINGS_DIR", dir.path()), ("BYOC_MODEL", "direct")]);
    assert_eq!(model.as_deref(), Some("from-file"));
}

#[test]
fn what_the_platform_calls_file_is_a_path_and_not_read() {
    let sources = Sources::new([("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nowhere/token")]);
    let aws = Settings::read(&sources.read()).expect("usable settings").aws;
    assert!(aws.container_authorization_token.is_none());
    assert_eq!(aws.container_authorization_token_file, Some(PathBuf::from("/nowhere/token")));
}

#[test]
fn what_cannot_be_read_is_named() {
    check_refused(&[("TP_SETTINGS_DIR", "/nowhere")], "TP_SETTINGS_DIR", "/nowhere");
    check_refused(&[("TP_ENV_FILE", "/nowhere.env")], "TP_ENV_FILE", "/nowhere.env");
    check_refused(&[("BYOC_API_KEY_FILE", "/nowhere")], "BYOC_API_KEY", "BYOC_API_KEY_FILE");
    // Somebody took one variable for the other.
    check_refused(&[("BYOC_API_KEY_FILE", "hunter2")], "BYOC_API_KEY", "a file");
    check_refused(&[("BYOC_API_KEY_FILE", "/dev/zero")], "BYOC_API_KEY", "not a file");
}

#[test]
fn a_file_that_is_no_setting_is_reported_and_not_read() {
    let dir = Place::new();
    dir.write("api_key", "test-key");
    dir.write(".hidden", "x");
    dir.write("BYOC_MODLE", "m");
    let gathered = Sources::new([("TP_SETTINGS_DIR", dir.path())]).read();
    let settings = Settings::read(&gathered).expect("usable settings");
    assert_eq!(settings.unknown, ["BYOC_MODLE", "api_key"]);
}

#[test]
fn a_file_that_is_too_large_no_text_or_no_file_is_refused_by_name() {
    let dir = Place::new();
    let environment = [("TP_SETTINGS_DIR", dir.path())];
    let path = dir.write("BYOC_MODEL", vec![b'x'; (64 << 10) + 1]);
    check_refused(&environment, "BYOC_MODEL", "64 KiB");
    dir.write("BYOC_MODEL", vec![b'x'; 64 << 10]);
    assert_eq!(Settings::check(&Sources::new(environment).read()), []);
    dir.write("BYOC_MODEL", b"\xff\xfe");
    check_refused(&environment, "BYOC_MODEL", "UTF-8");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("made");
    check_refused(&environment, "BYOC_MODEL", "not a file");
}

#[test]
fn sources_are_named_by_the_environment_alone() {
    let dir = Place::new();
    dir.write("TP_ENV_FILE", "/etc/atlas.env");
    check_refused(&[("TP_SETTINGS_DIR", dir.path())], "TP_ENV_FILE", "has no effect");
    // The same file as a container's environment and as TP_ENV_FILE.
    let place = Place::new();
    let path = place.0.path().join("atlas.env").to_str().expect("UTF-8").to_owned();
    place.write("atlas.env", format!("TP_ENV_FILE={path}\nBYOC_MODEL=m\n"));
    assert_eq!(model(&[("TP_ENV_FILE", &path)]).0.as_deref(), Some("m"));
}

#[test]
fn a_comment_or_another_place_is_no_change_and_a_byte_of_a_certificate_is() {
    let place = Place::new();
    let env_file = place.write("atlas.env", "BYOC_MODEL=m\n");
    let ca = place.write("ca.pem", "one");
    let sources = Sources::new([("TP_ENV_FILE", env_file.as_str()), ("BYOC_CA_BUNDLE", ca.as_str())]);
    let before = sources.read().hash();
    place.write("atlas.env", "# the model\nBYOC_MODEL='m'\n");
    assert_eq!(sources.read().hash(), before);
    place.write("ca.pem", "two");
    assert_ne!(sources.read().hash(), before);
}

#[test]
fn all_values_are_of_one_generation_while_another_thread_swaps_300() {
    let mount = Mount::new();
    let pair = |generation: u32| {
        let (key, host) = (format!("test-key-{generation}"), format!("https://host-{generation}.test/"));
        mount.swap(generation, &[("BYOC_API_KEY", &key), ("BYOC_ENDPOINT_URL", &host), ("ca", &key)]);
    };
    pair(0);
    let ca = format!("{}/ca", mount.path());
    let sources = Sources::new([("TP_SETTINGS_DIR", mount.path()), ("BYOC_CA_BUNDLE", ca.as_str())]);
    let done = AtomicBool::new(false);
    let mut seen = BTreeSet::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            (1..=300).for_each(pair);
            done.store(true, Ordering::Release);
        });
        loop {
            let last = done.load(Ordering::Acquire);
            // A swap at every pass is said to be one; half of one generation never appears.
            if let Ok(settings) = Settings::read_all(&sources.read()) {
                let key = settings.byoc.api_key.expect("set").expose_secret().replace("test-key-", "");
                let host = settings.byoc.endpoint.expect("set").to_string();
                assert_eq!(host, format!("https://host-{key}.test/"));
                let ca = settings.network.ca_bundle.expect("set");
                assert_eq!(&*ca.bytes, format!("test-key-{key}\n").as_bytes());
                seen.insert(key);
            }
            if last {
                break;
            }
        }
    });
    assert!(seen.contains("300"), "the last generation is read at rest");
}

#[test]
fn a_change_in_a_plain_directory_is_another_content() {
    let dir = Place::new();
    dir.write("BYOC_MODEL", "model-0");
    let sources = Sources::new([("TP_SETTINGS_DIR", dir.path())]);
    let before = sources.read().hash();
    assert_eq!(sources.read().hash(), before);
    dir.write("BYOC_MODEL", "model-1");
    assert_ne!(sources.read().hash(), before);
    assert_eq!(model(&[("TP_SETTINGS_DIR", dir.path())]).0.as_deref(), Some("model-1"));
}

#[test]
fn a_link_into_a_mount_is_read_like_any_file() {
    let (mount, place) = (Mount::new(), Place::new());
    mount.swap(1, &[("key", "test-key")]);
    let link = place.0.path().join("link");
    symlink(format!("{}/key", mount.path()), &link).expect("linked");
    let sources = Sources::new([("BYOC_API_KEY_FILE", link.to_str().expect("UTF-8"))]);
    let settings = Settings::read(&sources.read()).expect("usable settings");
    assert_eq!(settings.byoc.api_key.as_ref().map(ExposeSecret::expose_secret), Some("test-key"));
}
