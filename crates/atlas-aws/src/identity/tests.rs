//! Renewal: when, by whom, and what happens when it fails. The clock belongs to the tests.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use atlas_domain::ProviderErrorKind;
use futures_util::future::join_all;

use super::*;
use crate::options::PlatformVariables;
use crate::testing::{Double, document, keys, outbound, role};

thread_local! {
    /// Seconds since 1970. Tests run on a thread each, and so do their futures.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn now() -> SystemTime {
    at(NOW.get())
}

fn ends(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("a time").to_string()
}

/// An endpoint that counts what it issues as the end of the key's ID, each good until `ends` says.
async fn source(end: impl Fn(u32) -> (u16, i64) + Send + Sync + 'static) -> Double {
    let n_asked = AtomicU32::new(0);
    Double::start(move |_| {
        let n = n_asked.fetch_add(1, Ordering::SeqCst) + 1;
        let (status, end) = end(n);
        (status, document(&format!("ASIATESTKEY{n:05}"), &ends(end)))
    })
    .await
}

fn identity(double: &Double) -> Identity {
    let platform = PlatformVariables { full_uri: Some(double.url("/")), ..PlatformVariables::default() };
    let options = role(platform);
    let platform = crate::testing::platform(&options);
    Identity::with_clock(&options, &outbound(&[]), Some(&platform), now).expect("an identity")
}

async fn key(identity: &Identity) -> String {
    identity.credentials().await.expect("credentials").access_key_id().to_owned()
}

#[tokio::test]
async fn credentials_are_kept_until_shortly_before_their_end() {
    NOW.set(1_000_000);
    let double = source(|n| (200, 1_000_000 + 3600 * i64::from(n))).await;
    let identity = identity(&double);
    assert_eq!(key(&identity).await, "ASIATESTKEY00001");
    NOW.set(1_000_000 + 3600 - 361);
    assert_eq!(key(&identity).await, "ASIATESTKEY00001");
    NOW.set(1_000_000 + 3600 - 300);
    assert_eq!(key(&identity).await, "ASIATESTKEY00002");
    assert_eq!(double.lines().len(), 2);
}

#[tokio::test]
async fn old_credentials_are_used_until_they_end() {
    NOW.set(1_000_000);
    let double = source(|n| (if n == 1 { 200 } else { 500 }, 1_003_600)).await;
    let identity = identity(&double);
    key(&identity).await;
    NOW.set(1_003_400);
    assert_eq!(key(&identity).await, "ASIATESTKEY00001");
    assert_eq!(key(&identity).await, "ASIATESTKEY00001");
    assert_eq!(double.lines().len(), 2, "a failing source is not asked for every request");
    NOW.set(1_003_430);
    key(&identity).await;
    assert_eq!(double.lines().len(), 3);
    NOW.set(1_003_600);
    let error = identity.credentials().await.expect_err("they have ended");
    assert_eq!(error.kind(), ProviderErrorKind::Credentials);
    assert!(!error.is_unavailable(), "a source that is away must not open a fallback");
}

#[tokio::test]
async fn one_asks_and_the_others_wait() {
    NOW.set(1_000_000);
    let double = source(|_| (200, 1_003_600)).await;
    let identity = identity(&double);
    let keys = join_all((0..20).map(|_| key(&identity))).await;
    assert!(keys.iter().all(|key| key == "ASIATESTKEY00001"));
    assert_eq!(double.lines().len(), 1);
}

#[tokio::test]
async fn those_who_waited_for_a_failure_get_it_too() {
    NOW.set(1_000_000);
    let double = source(|_| (500, 0)).await;
    let identity = identity(&double);
    let outcomes = join_all((0..20).map(|_| identity.credentials())).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(double.lines().len(), 1);
    assert!(identity.credentials().await.is_err());
    assert_eq!(double.lines().len(), 2, "the next request asks again");
}

#[tokio::test]
async fn while_one_renews_the_others_use_what_there_is() {
    NOW.set(1_000_000);
    let double = source(|n| (200, 1_000_000 + 3600 * i64::from(n))).await;
    let identity = identity(&double);
    key(&identity).await;
    NOW.set(1_003_400);
    let keys = join_all((0..5).map(|_| key(&identity))).await;
    assert_eq!(keys.iter().filter(|key| *key == "ASIATESTKEY00002").count(), 1, "{keys:?}");
    assert_eq!(double.lines().len(), 2);
}

#[tokio::test]
async fn refused_credentials_are_renewed_once() {
    NOW.set(1_000_000);
    let double = source(|_| (200, 1_003_600)).await;
    let identity = identity(&double);
    key(&identity).await;
    let generation = identity.generation();
    assert!(identity.renew(generation));
    assert_eq!(key(&identity).await, "ASIATESTKEY00002");
    assert!(identity.renew(generation), "a late report about the old ones");
    assert_eq!(key(&identity).await, "ASIATESTKEY00002");
}

#[tokio::test]
async fn credentials_that_are_issued_expired_are_not_asked_for_at_every_request() {
    NOW.set(1_000_000);
    let double = source(|_| (200, 900_000)).await;
    let identity = identity(&double);
    key(&identity).await;
    assert_eq!(key(&identity).await, "ASIATESTKEY00001");
    NOW.set(1_000_300);
    assert_eq!(key(&identity).await, "ASIATESTKEY00002");
}

#[tokio::test]
async fn access_keys_are_what_they_are() {
    let options = AwsIdentityOptions { session_token: Some("test-key-session".into()), ..keys() };
    let identity = Identity::connect(&options, &outbound(&[]), None).expect("an identity");
    let credentials = identity.credentials().await.expect("credentials");
    assert_eq!(credentials.session_token(), Some("test-key-session"));
    assert!(!identity.renew(identity.generation()), "there are no others");
    let report = identity.report().await.expect("a report");
    assert_eq!(report.to_string(), "access keys, key …0001");
    let shown =
        format!("{identity:?} {options:?} {report:?} {}", serde_json::to_string(&report).expect("JSON"));
    assert!(!shown.contains("test-key"), "{shown}");
}

#[test]
fn short_lived_credentials_are_renewed_half_way() {
    let check = |left: u64, jitter: u64, expect: u64| {
        let moment = renew_at(at(1000), at(1000 + left), Duration::from_secs(jitter));
        assert_eq!(moment, at(1000 + expect), "{left} s left");
    };
    check(3600, 0, 3300);
    check(3600, 60, 3240);
    check(60, 30, 30);
    check(0, 0, 0);
}

#[test]
fn jitter_is_bounded_and_spreads() {
    let all: Vec<_> = (0..50).map(|n| jitter(&format!("ASIATESTKEY{n:05}"))).collect();
    assert!(all.iter().all(|jitter| *jitter <= JITTER));
    assert!(all.iter().max() > all.iter().min());
}
