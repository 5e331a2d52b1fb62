use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::ExposeSecret;

use super::*;
use crate::SETTINGS;
use crate::testing::Mount;

/// Polling that does not happen within a test, so that what arrives was watched.
const NEVER: Duration = Duration::from_secs(3600);

fn start(dir: &str) -> Live {
    Live::start(Sources::new([("TP_SETTINGS_DIR", dir)]), Overrides::default()).expect("usable settings")
}

fn key(live: &Live) -> String {
    key_of(&live.snapshot().settings)
}

fn key_of(settings: &Settings) -> String {
    settings.byoc.api_key.as_ref().expect("set").expose_secret().to_owned()
}

async fn nothing(_: Arc<Snapshot>) -> Result<(), Refusal> {
    Ok(())
}

#[tokio::test]
async fn a_swapped_secret_is_a_new_snapshot_and_running_work_keeps_the_old_one() {
    let mount = Mount::new();
    mount.swap(1, &[("BYOC_API_KEY", "test-key-1")]);
    let live = start(mount.path());
    assert_eq!(live.status().generation, 1);
    let running = live.snapshot();
    assert_eq!(live.reload().await, Outcome::Unchanged);
    mount.swap(2, &[("BYOC_API_KEY", "test-key-2")]);
    assert_eq!(live.reload().await, Outcome::Applied { generation: 2 });
    assert_eq!(key(&live), "test-key-2");
    assert_eq!(key_of(&running.settings), "test-key-1");
    assert_eq!(live.status().sources[0].generation.as_deref(), Some("..2"));
}

#[tokio::test]
async fn a_bad_change_leaves_the_last_good_snapshot_and_says_so_until_it_is_corrected() {
    let mount = Mount::new();
    mount.swap(1, &[("BYOC_API_KEY", "test-key-1"), ("BYOC_API", "auto")]);
    let live = start(mount.path());
    mount.swap(2, &[("BYOC_API_KEY", "test-key-2"), ("BYOC_API", "hunter2")]);
    let Outcome::Rejected(rejected) = live.reload().await else { panic!("refused") };
    assert_eq!(rejected.name.as_deref(), Some("BYOC_API"));
    assert_eq!(key(&live), "test-key-1");
    let status = live.status();
    assert_eq!((status.generation, status.rejected), (1, Some(rejected)));

    mount.swap(3, &[("BYOC_API_KEY", "test-key-3"), ("BYOC_API", "chat")]);
    assert_eq!(live.reload().await, Outcome::Applied { generation: 2 });
    assert_eq!(live.status().rejected, None);
    assert_eq!(key(&live), "test-key-3");
}

#[tokio::test]
async fn taking_a_bad_change_back_clears_the_rejection_without_a_new_snapshot() {
    let mount = Mount::new();
    mount.swap(1, &[("BYOC_API_KEY", "test-key-1")]);
    let live = start(mount.path());
    mount.swap(2, &[("BYOC_API_KEY", "two words")]);
    assert!(matches!(live.reload().await, Outcome::Rejected(_)));
    mount.swap(3, &[("BYOC_API_KEY", "test-key-1")]);
    assert_eq!(live.reload().await, Outcome::Unchanged);
    assert_eq!((live.status().generation, live.status().rejected), (1, None));
}

#[tokio::test]
async fn the_first_snapshot_must_be_good_and_all_its_problems_are_named() {
    let sources = Sources::new([("TP_LISTEN", "x"), ("BYOC_API", "y")]);
    let errors = Live::start(sources, Overrides::default()).expect_err("refused");
    assert_eq!(errors.len(), 2);
    assert_eq!(errors.to_string().lines().count(), 2);
}

#[tokio::test]
async fn preparation_sees_the_candidate_before_it_takes_effect_and_may_refuse_it() {
    let mount = Mount::new();
    mount.swap(1, &[("BYOC_MODEL", "good")]);
    let live = start(mount.path());
    let (calls, observer) = (Arc::new(AtomicUsize::new(0)), live.clone());
    let counted = Arc::clone(&calls);
    let prepare = move |candidate: Arc<Snapshot>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let in_effect = observer.snapshot().generation;
        async move {
            assert_eq!(candidate.generation, in_effect + 1);
            match candidate.settings.byoc.model.as_deref() {
                Some("bad") => {
                    Err(Refusal { name: Some("BYOC_MODEL".into()), reason: "no such model".into() })
                }
                Some("panic") => panic!("a bug in the preparation"),
                _ => Ok(()),
            }
        }
    };
    let task = live.watch_every(NEVER, prepare, CancellationToken::new());

    mount.swap(2, &[("BYOC_MODEL", "bad")]);
    let Outcome::Rejected(rejected) = live.reload().await else { panic!("refused") };
    assert_eq!((rejected.name.as_deref(), rejected.reason.as_str()), (Some("BYOC_MODEL"), "no such model"));
    let asked = calls.load(Ordering::SeqCst);
    // The poll does not ask again for what was refused; a person may.
    assert_eq!(live.shared.step(false).await, Outcome::Rejected(rejected));
    assert_eq!(calls.load(Ordering::SeqCst), asked);
    assert!(matches!(live.reload().await, Outcome::Rejected(_)));
    assert_eq!(calls.load(Ordering::SeqCst), asked + 1);

    mount.swap(3, &[("BYOC_MODEL", "panic")]);
    assert!(matches!(live.reload().await, Outcome::Rejected(_)));
    mount.swap(4, &[("BYOC_MODEL", "better")]);
    assert_eq!(live.reload().await, Outcome::Applied { generation: 2 });
    task.abort();
}

#[tokio::test]
async fn the_watch_hears_of_a_swap_without_being_asked() {
    let mount = Mount::new();
    mount.swap(1, &[("BYOC_API_KEY", "test-key-1")]);
    let live = start(mount.path());
    let mut changes = live.subscribe();
    live.watch_every(NEVER, nothing, CancellationToken::new());
    mount.swap(2, &[("BYOC_API_KEY", "test-key-2")]);
    changes.changed().await.expect("the settings are alive");
    assert_eq!(key(&live), "test-key-2");
}

#[tokio::test]
async fn files_that_settings_point_to_are_watched_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |text: &str| {
        fs::write(folder.path().join("new"), text).expect("written");
        fs::rename(folder.path().join("new"), folder.path().join("key")).expect("renamed");
    };
    write("test-key-1");
    let path = folder.path().join("key").to_str().expect("UTF-8").to_owned();
    let sources = Sources::new([("BYOC_API_KEY_FILE", path.as_str())]);
    let live = Live::start(sources, Overrides::default()).expect("usable settings");
    let mut changes = live.subscribe();
    live.watch_every(NEVER, nothing, CancellationToken::new());
    write("test-key-2");
    changes.changed().await.expect("the settings are alive");
    assert_eq!(key(&live), "test-key-2");
}

#[tokio::test]
async fn the_watch_ends_when_it_is_told_to_and_when_nobody_has_the_settings() {
    let mount = Mount::new();
    mount.swap(1, &[("BYOC_API_KEY", "test-key-1")]);
    let (live, stop) = (start(mount.path()), CancellationToken::new());
    let task = live.watch(nothing, stop.clone());
    stop.cancel();
    task.await.expect("it ends by itself");
    let task = live.watch(nothing, CancellationToken::new());
    drop(live);
    task.await.expect("it ends by itself");
}

#[tokio::test]
async fn what_waits_for_a_restart_is_named_and_keeps_its_value_until_then() {
    let mount = Mount::new();
    let before = [("TP_LISTEN", "127.0.0.1:1"), ("TP_LOG", "info"), ("BYOC_MODEL", "x")];
    let after = [("TP_LISTEN", "127.0.0.1:2"), ("TP_LOG", "warn"), ("BYOC_MODEL", "y")];
    mount.swap(1, &before);
    let live = start(mount.path());
    mount.swap(2, &after);
    assert_eq!(live.reload().await, Outcome::Applied { generation: 2 });
    let settings = &live.snapshot().settings;
    assert_eq!(settings.listen.port(), 1);
    assert_eq!(settings.log, "info");
    assert_eq!(settings.byoc.model.as_deref(), Some("y"));
    assert_eq!(live.status().needs_restart, ["TP_LISTEN", "TP_LOG"]);
    mount.swap(3, &before);
    assert_eq!(live.reload().await, Outcome::Applied { generation: 3 });
    assert!(live.status().needs_restart.is_empty());
}

#[tokio::test]
async fn every_setting_that_waits_for_a_restart_waits() {
    let (folder, files) =
        (tempfile::tempdir().expect("a temporary folder"), tempfile::tempdir().expect("a temporary folder"));
    let [one_file, two_file] = ["one", "two"].map(|name| {
        let path = files.path().join(name);
        fs::write(&path, name).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    });
    for setting in SETTINGS.iter().filter(|setting| !setting.live && !setting.names_a_source()) {
        let (one, two) = match setting.form {
            crate::Form::Content => (one_file.as_str(), two_file.as_str()),
            crate::Form::Address => ("127.0.0.1:1", "127.0.0.1:2"),
            crate::Form::Number(..) => ("1", "2"),
            crate::Form::OneOf(words) => (words[0], words[1]),
            _ if setting.name == "TP_STORE" => ("postgres://u@one/d", "postgres://u@two/d"),
            _ => ("one", "two"),
        };
        let path = folder.path().join(setting.name);
        fs::write(&path, one).expect("written");
        let live = start(folder.path().to_str().expect("UTF-8"));
        let before = format!("{:?}", live.snapshot().settings);
        fs::write(&path, two).expect("written");
        assert_eq!(live.reload().await, Outcome::Applied { generation: 2 }, "{}", setting.name);
        assert_eq!(live.status().needs_restart, [setting.name]);
        assert_eq!(format!("{:?}", live.snapshot().settings), before, "{}", setting.name);
        fs::remove_file(&path).expect("removed");
    }
}

#[tokio::test]
async fn the_command_line_stays_on_top_of_every_reading() {
    let mount = Mount::new();
    mount.swap(1, &[("TP_LISTEN", "127.0.0.1:1")]);
    let overrides = Overrides { listen: Some(SocketAddr::from(([127, 0, 0, 1], 9))), data_dir: None };
    let live = Live::start(Sources::new([("TP_SETTINGS_DIR", mount.path())]), overrides).expect("usable");
    mount.swap(2, &[("TP_LISTEN", "127.0.0.1:2")]);
    live.reload().await;
    assert_eq!(live.snapshot().settings.listen.port(), 9);
    assert!(live.status().needs_restart.is_empty());
}

#[tokio::test]
async fn neither_status_nor_debug_output_shows_a_secret() {
    let mount = Mount::new();
    mount.swap(1, &[("BYOC_API_KEY", "hunter2")]);
    let live = start(mount.path());
    mount.swap(2, &[("BYOC_API_KEY", "hunter2 hunter2")]);
    live.reload().await;
    let status = serde_json::to_string(&live.status()).expect("JSON");
    let shown = format!("{status} {live:?} {:?}", live.snapshot());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(status.contains("\"name\":\"BYOC_API_KEY\""), "{status}");
}

#[tokio::test]
async fn settings_that_were_given_never_change() {
    let live = Live::fixed(Settings::read(&Sources::new([("BYOC_MODEL", "m")]).read()).expect("usable"));
    assert_eq!(live.reload().await, Outcome::Unchanged);
    assert_eq!(live.snapshot().settings.byoc.model.as_deref(), Some("m"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_during_300_rotations_see_whole_snapshots_and_the_last_one_wins() {
    let mount = Arc::new(Mount::new());
    let rotate = |mount: &Mount, generation: u32| {
        let (key, host) = (format!("test-key-{generation}"), format!("https://host-{generation}.test/"));
        mount.swap(generation, &[("BYOC_API_KEY", &key), ("BYOC_ENDPOINT_URL", &host)]);
    };
    rotate(&mount, 0);
    let live = start(mount.path());
    live.watch(nothing, CancellationToken::new());
    let rotating = Arc::clone(&mount);
    let rotation = tokio::task::spawn_blocking(move || (1..=300).for_each(|it| rotate(&rotating, it)));
    while !rotation.is_finished() {
        live.reload().await;
        let snapshot = live.snapshot();
        let settings = &snapshot.settings;
        let host = settings.byoc.endpoint.as_ref().expect("set").as_str();
        assert_eq!(host, format!("https://host-{}.test/", key_of(settings).replace("test-key-", "")));
    }
    rotation.await.expect("300 rotations");
    live.reload().await;
    assert_eq!(key(&live), "test-key-300");
    assert_eq!(live.status().rejected, None);
}
