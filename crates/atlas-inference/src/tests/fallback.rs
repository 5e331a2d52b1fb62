//! Who may answer in place of a provider that failed, and who may not.

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Destination, DestinationClass, ProviderError, ProviderErrorKind as Kind};
use atlas_llm::{ChatEvent, Inspection};
use atlas_testkit::scripted_model::{ScriptedModel, Turn};
use futures_util::StreamExt;

use super::{asking, error, inference, job, plugs};
use crate::*;

/// How far the fallback is allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Permission {
    /// The strict mode: there is no such value.
    Absent,
    NeverVerified,
    Verified,
    VerifiedLongAgo,
}

const PERMISSIONS: [Permission; 4] =
    [Permission::Absent, Permission::NeverVerified, Permission::Verified, Permission::VerifiedLongAgo];

fn managed(turns: impl IntoIterator<Item = Turn>) -> Arc<ScriptedModel> {
    let host = Destination::host(DestinationClass::Public, "cp.example.com");
    Arc::new(ScriptedModel::at(host, turns).of("control_plane").named("managed-1"))
}

async fn with_fallback(
    primary: &Arc<ScriptedModel>,
    managed: &Arc<ScriptedModel>,
    permission: Permission,
) -> Inference {
    let control_plane = Arc::new(ControlPlane::new(Arc::clone(managed) as _));
    if matches!(permission, Permission::Verified | Permission::VerifiedLongAgo) {
        control_plane.verify().await.expect("it is there");
    }
    if permission == Permission::VerifiedLongAgo {
        tokio::time::advance(Duration::from_secs(61)).await;
    }
    let fallback = (permission != Permission::Absent).then(|| Fallback::new(control_plane));
    inference(Plugs { fallback, ..plugs(primary) })
}

/// Checks that the control plane is called exactly where it is allowed, for jobs and for streams.
async fn check(turn: Turn, may_fail_over: bool) {
    for permission in PERMISSIONS {
        for streamed in [false, true] {
            let primary = Arc::new(ScriptedModel::new((0..3).map(|_| turn.clone())));
            let managed = managed([Turn::says(["from above"])]);
            let inference = with_fallback(&primary, &managed, permission).await;
            let answered_by = if streamed { read(&inference).await } else { ask(&inference).await };
            let expect = may_fail_over && permission == Permission::Verified;
            let case = format!("{permission:?}, streamed: {streamed}, {turn:?}");
            assert_eq!(managed.requests().len(), usize::from(expect), "{case}");
            assert_eq!(answered_by, expect.then_some(Plane::ControlPlane), "{case}");
            let counters = inference.counters();
            assert_eq!((counters.answered_control_plane, counters.failed), (u64::from(expect), 1), "{case}");
        }
    }
}

async fn ask(inference: &Inference) -> Option<Plane> {
    let answered = inference.complete(job()).await.ok()?;
    assert_eq!(answered.text, "from above");
    Some(answered.served_by.plane)
}

async fn read(inference: &Inference) -> Option<Plane> {
    let mut opened = inference.open(job()).await.ok()?;
    while let Some(event) = opened.events.next().await {
        event.ok()?;
    }
    Some(opened.served_by.plane)
}

#[tokio::test(start_paused = true)]
async fn an_outage_fails_over_where_that_is_allowed() {
    for outage in [
        ProviderError::new(Kind::Network, "connection refused"),
        ProviderError::new(Kind::Network, "the name does not resolve"),
        ProviderError::new(Kind::Network, "the certificate has expired"),
        ProviderError::timeout("connect"),
        ProviderError::timeout("first token"),
        error(Kind::Server).with_status(500),
        error(Kind::Server).with_status(502),
        error(Kind::Overloaded).with_status(503),
        error(Kind::Overloaded).with_status(529),
    ] {
        check(Turn::refuses(outage), true).await;
    }
    check(Turn::breaks_after([], ProviderError::cut_short()), true).await;
    check(Turn::breaks_after([], error(Kind::Server)), true).await;
    check(Turn::yields([]), true).await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_no_is_not_down() {
    for kind in [
        Kind::Throttled,
        Kind::Credentials,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::BadRequest,
        Kind::PromptTooLong,
        Kind::ContentFilter,
        Kind::Quota,
        Kind::Conflict,
        Kind::Egress,
        Kind::Protocol,
        Kind::Settings,
    ] {
        check(Turn::refuses(error(kind)), false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_is_not_finished_by_somebody_else() {
    check(Turn::breaks_after(["Half"], ProviderError::cut_short()), false).await;
}

#[tokio::test(start_paused = true)]
async fn a_callers_deadline_is_no_outage() {
    let primary = Arc::new(ScriptedModel::new([Turn::hangs()]));
    let managed = managed([]);
    let inference = with_fallback(&primary, &managed, Permission::Verified).await;
    let hasty = Job { deadline: Duration::from_secs(30), ..job() };
    assert_eq!(inference.complete(hasty).await.expect_err("no time").code(), "ai_deadline");
}

#[tokio::test(start_paused = true)]
async fn a_full_house_is_no_outage() {
    let primary = Arc::new(ScriptedModel::new((0..16).map(|_| Turn::hangs())));
    let managed = managed([]);
    let inference = with_fallback(&primary, &managed, Permission::Verified).await;
    let all = (0..16).map(|_| inference.complete(job()));
    let all = futures_util::future::join_all(all);
    let (_, refused) = tokio::join!(tokio::time::timeout(Duration::from_secs(1), all), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        inference.complete(job()).await
    });
    assert_eq!(refused.expect_err("busy").code(), "ai_busy");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_fails_over_without_asking_the_provider() {
    let primary = Arc::new(ScriptedModel::new((0..5).map(|_| Turn::refuses(error(Kind::Server)))));
    let managed = managed((0..3).map(|_| Turn::says(["from above"])));
    let inference = with_fallback(&primary, &managed, Permission::Verified).await;
    for _ in 0..3 {
        assert_eq!(ask(&inference).await, Some(Plane::ControlPlane));
    }
    assert_eq!((primary.turns_left(), inference.status().breaker), (0, BreakerState::Open));
    assert_eq!(managed.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_without_a_fallback_stays_with_the_provider() {
    let primary = Arc::new(ScriptedModel::new((0..5).map(|_| Turn::refuses(error(Kind::Server)))));
    let managed = managed([]);
    for permission in [Permission::Absent, Permission::NeverVerified] {
        primary.then((0..5).map(|_| Turn::refuses(error(Kind::Server))));
        let inference = with_fallback(&primary, &managed, permission).await;
        for _ in 0..3 {
            assert_eq!(ask(&inference).await, None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_is_cleared_again_and_the_model_is_the_fallbacks_own() {
    let primary = Arc::new(ScriptedModel::new((0..3).map(|_| Turn::refuses(error(Kind::Server)))));
    let managed = managed([Turn::says(["ok"])]);
    let inference = with_fallback(&primary, &managed, Permission::Verified).await;
    let answered = inference.complete(asking("password=hunter2hunter2")).await.expect("an answer");
    let served_by = answered.served_by;
    assert_eq!(
        (served_by.provider.as_str(), served_by.model.as_str(), served_by.host.as_str()),
        ("control_plane", "managed-1", "cp.example.com")
    );
    assert_eq!(answered.redactions, 1);
    assert!(!format!("{:?}", managed.requests()).contains("hunter2"));
    // What the operator has to look at is still the provider's failure.
    let failure = inference.status().last_failure.expect("a failure");
    assert_eq!(failure.code, "provider_error");
    assert!(inference.status().last_success.is_none());
}

#[tokio::test(start_paused = true)]
async fn when_both_fail_the_providers_failure_is_told() {
    let primary = Arc::new(ScriptedModel::new((0..3).map(|_| Turn::refuses(error(Kind::Overloaded)))));
    let managed = managed([Turn::refuses(error(Kind::Quota))]);
    let inference = with_fallback(&primary, &managed, Permission::Verified).await;
    let failure = inference.complete(job()).await.expect_err("both");
    assert_eq!(failure.provider_error().map(ProviderError::kind), Some(Kind::Overloaded));
    assert_eq!(inference.counters().failed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_verification_counts_for_a_minute_and_a_failed_one_not_at_all() {
    let managed = managed([]);
    let control_plane = ControlPlane::new(Arc::clone(&managed) as _);
    managed.inspects_as(Err(error(Kind::Credentials)));
    control_plane.verify().await.expect_err("a wrong token");
    assert!(!control_plane.connected());
    managed.inspects_as(Ok(Inspection::default()));
    assert!(control_plane.verify().await.is_err(), "an answer that shows nothing proves nothing");
    managed.inspects_as(Ok(Inspection { model_listed: Some(false), ..Inspection::default() }));
    control_plane.verify().await.expect("it is there");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(control_plane.connected());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!control_plane.connected());
}

#[tokio::test(start_paused = true)]
async fn thoughts_of_a_provider_that_breaks_do_not_forbid_the_fallback_of_a_job() {
    let thinking = Turn::yields([ChatEvent::Reasoning("hm".into())]);
    let primary = Arc::new(ScriptedModel::new([thinking]));
    let managed = managed([Turn::says(["from above"])]);
    let inference = with_fallback(&primary, &managed, Permission::Verified).await;
    assert_eq!(ask(&inference).await, Some(Plane::ControlPlane));
}
