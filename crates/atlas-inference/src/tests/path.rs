//! One job from admission to audit.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atlas_domain::{Fault, ProviderError, ProviderErrorKind as Kind, Retry};
use atlas_guard::Guard;
use atlas_llm::{ChatEvent, Usage};
use atlas_testkit::scripted_model::Turn;
use tokio::time::Instant;

use super::{asking, error, failed, job, refused_key, scripted, throttled};
use crate::*;

fn overheard(job: Job) -> (Job, Arc<Mutex<String>>) {
    let heard = Arc::new(Mutex::new(String::new()));
    let ear = Arc::clone(&heard);
    let on_text: OnText = Box::new(move |piece| ear.lock().expect("not poisoned").push_str(piece));
    (Job { on_text: Some(on_text), ..job }, heard)
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_who_gave_it_and_what_it_took() {
    let usage = Usage { input: 9, output: 2, ..Usage::default() };
    let (_, inference) =
        scripted([Turn::says(["The log ", "grew."]).using(usage).after(Duration::from_secs(2))]);
    let (job, heard) = overheard(job());
    let answered = inference.complete(job).await.expect("an answer");
    assert_eq!(answered.text, "The log grew.");
    assert_eq!(*heard.lock().expect("not poisoned"), "The log grew.");
    assert_eq!((answered.usage, answered.usage_estimated), (usage, false));
    assert_eq!(answered.latency, Duration::from_secs(2));
    let json = serde_json::to_value(&answered).expect("JSON");
    assert_eq!(
        json["served_by"],
        serde_json::json!({
            "plane": "byoc", "provider": "scripted", "model": "scripted-1", "host": "127.0.0.1", "destination": "loopback",
        })
    );
    assert_eq!(json["latency_ms"], 2000);
}

#[tokio::test(start_paused = true)]
async fn missing_usage_is_estimated_and_marked() {
    let (_, inference) = scripted([Turn::says(["12345678"])]);
    let answered = inference.complete(asking("1234")).await.expect("an answer");
    assert_eq!((answered.usage.input, answered.usage.output, answered.usage_estimated), (1, 2, true));
}

#[tokio::test(start_paused = true)]
async fn secrets_do_not_reach_the_model_and_are_counted() {
    let (model, inference) = scripted([Turn::says(["ok"])]);
    let answered = inference.complete(asking("log: password=hunter2hunter2")).await.expect("an answer");
    assert_eq!(answered.redactions, 1);
    assert!(!format!("{:?}", model.requests()).contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn nothing_configured_is_said_so() {
    let inference = Inference::new(Arc::new(Guard::new()));
    let error = inference.complete(job()).await.expect_err("no provider");
    assert_eq!(
        (error.code(), error.fault(), error.retry()),
        ("ai_not_configured", Fault::Settings, Retry::Never)
    );
    assert_eq!(inference.test(false).await.status, "not_configured");
    assert_eq!(inference.status().state, "not_configured");
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_work_are_named() {
    let inference = Inference::new(Arc::new(Guard::new()));
    inference.apply(Plugs::misconfigured(ProviderError::setting("BYOC_MODEL", "it is empty")));
    assert_eq!(inference.complete(job()).await.expect_err("wrong").code(), "provider_settings");
    let report = inference.test(false).await;
    assert_eq!((report.status, report.error.map(|error| error.code)), ("error", Some("provider_settings")));
    assert_eq!(inference.status().problem.map(|problem| problem.code), Some("provider_settings"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_first_text_is_repeated_twice() {
    let (model, inference) = scripted([Turn::refuses(failed()), Turn::refuses(failed()), Turn::says(["ok"])]);
    assert_eq!(inference.complete(job()).await.expect("an answer").text, "ok");
    assert_eq!(model.turns_left(), 0);

    let (model, inference) = scripted((0..4).map(|_| Turn::refuses(failed())));
    let error = inference.complete(job()).await.expect_err("down");
    assert_eq!((error.code(), error.fault()), ("ai_unavailable", Fault::Upstream));
    assert_eq!(error.to_string(), "AI provider temporarily unavailable");
    assert_eq!(model.turns_left(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_first_text_is_not_repeated() {
    let (model, inference) = scripted([Turn::breaks_after(["Partial"], failed()), Turn::says(["ok"])]);
    let (job, heard) = overheard(job());
    assert_eq!(inference.complete(job).await.expect_err("broken").code(), "ai_unavailable");
    assert_eq!(*heard.lock().expect("not poisoned"), "Partial");
    assert_eq!(model.turns_left(), 1);
}

#[tokio::test(start_paused = true)]
async fn thoughts_are_no_delivered_text() {
    let thought = Turn::yields([ChatEvent::Reasoning("hm".into())]);
    let (_, inference) = scripted([thought]);
    assert_eq!(inference.complete(job()).await.expect_err("cut").code(), "ai_unavailable");
    let breaking = Turn::breaks_after([], failed());
    let (_, inference) = scripted([breaking, Turn::says(["ok"])]);
    assert_eq!(inference.complete(job()).await.expect("repeated").text, "ok");
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_will_refuse_again_is_not_repeated() {
    for error in [refused_key(), error(Kind::Quota), error(Kind::BadRequest)] {
        let (model, inference) = scripted([Turn::refuses(error.clone()), Turn::says(["ok"])]);
        let refused = inference.complete(job()).await.expect_err("refused");
        assert_eq!((refused.code(), refused.fault()), (error.code(), error.fault()));
        assert_eq!(model.turns_left(), 1, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_or_passed_on() {
    let (_, inference) = scripted([Turn::refuses(throttled(7)), Turn::says(["ok"])]);
    let started = Instant::now();
    inference.complete(job()).await.expect("an answer");
    assert_eq!(started.elapsed(), Duration::from_secs(7));

    let (_, inference) = scripted([Turn::refuses(throttled(20))]);
    let hasty = Job { deadline: Duration::from_secs(10), ..job() };
    let error = inference.complete(hasty).await.expect_err("no time");
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(20)));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_silent_call() {
    let (_, inference) = scripted([Turn::hangs()]);
    let started = Instant::now();
    let error = inference.complete(job()).await.expect_err("silence");
    assert_eq!((error.code(), started.elapsed()), ("ai_deadline", Duration::from_secs(300)));
}

#[tokio::test(start_paused = true)]
async fn the_seventeenth_job_at_once_is_turned_away() {
    let (_, inference) = scripted((0..16).map(|_| Turn::says(["ok"]).after(Duration::from_secs(1))));
    let all = futures_util::future::join_all((0..17).map(|_| inference.complete(job()))).await;
    let codes: Vec<_> =
        all.iter().filter_map(|result| result.as_ref().err().map(InferenceError::code)).collect();
    assert_eq!(codes, ["ai_busy"]);
}

#[tokio::test(start_paused = true)]
async fn five_failures_open_the_breaker_and_one_success_closes_it() {
    let (model, inference) = scripted((0..5).map(|_| Turn::refuses(failed())));
    inference.complete(job()).await.expect_err("three failures");
    // Two more, and the retry already finds the breaker open.
    let error = inference.complete(job()).await.expect_err("five failures");
    assert_eq!(inference.status().breaker, BreakerState::Open);
    assert!(matches!(error.retry(), Retry::After(wait) if wait <= Duration::from_secs(15)), "{error:?}");

    // Nobody is asked while it is open: the script has no turn left to take.
    inference.complete(job()).await.expect_err("open");

    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(inference.status().breaker, BreakerState::HalfOpen);
    model.then([Turn::says(["ok"]).after(Duration::from_secs(1))]);
    let (trial, other) = tokio::join!(inference.complete(job()), inference.complete(job()));
    assert_eq!(trial.expect("the trial").text, "ok");
    assert_eq!(other.expect_err("only one tries").code(), "ai_unavailable");
    assert_eq!(inference.status().breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_failed_trial_opens_the_breaker_again() {
    let (model, inference) = scripted((0..5).map(|_| Turn::refuses(failed())));
    for _ in 0..2 {
        inference.complete(job()).await.expect_err("down");
    }
    tokio::time::advance(Duration::from_secs(15)).await;
    model.then([Turn::refuses(failed())]);
    inference.complete(job()).await.expect_err("still down");
    assert_eq!((inference.status().breaker, model.turns_left()), (BreakerState::Open, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_trial_leaves_the_next_one_free() {
    let (model, inference) = scripted((0..5).map(|_| Turn::refuses(failed())));
    for _ in 0..2 {
        inference.complete(job()).await.expect_err("down");
    }
    tokio::time::advance(Duration::from_secs(15)).await;
    model.then([Turn::hangs(), Turn::says(["ok"])]);
    let cancelled = tokio::time::timeout(Duration::from_secs(1), inference.complete(job())).await;
    assert!(cancelled.is_err());
    assert_eq!(inference.complete(job()).await.expect("a new trial").text, "ok");
}

#[tokio::test(start_paused = true)]
async fn refusals_and_throttles_never_open_the_breaker() {
    let (_, inference) =
        scripted((0..20).map(|n| Turn::refuses(if n % 2 == 0 { refused_key() } else { throttled(500) })));
    for _ in 0..20 {
        inference.complete(job()).await.expect_err("refused");
    }
    assert_eq!(inference.status().breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_retries_of_all_jobs_share_a_budget() {
    let (model, inference) = scripted([]);
    for _ in 0..20 {
        // Two failures and an answer: within the job's own limit, and the breaker stays closed.
        model.then([Turn::refuses(failed()), Turn::refuses(failed()), Turn::says(["ok"])]);
        if inference.complete(job()).await.is_err() {
            assert!(model.turns_left() > 0, "given up for lack of budget");
            return;
        }
    }
    panic!("forty retries for twenty answers were allowed");
}

#[tokio::test(start_paused = true)]
async fn the_status_remembers_the_last_success_and_failure() {
    let (_, inference) = scripted([Turn::refuses(refused_key()), Turn::says(["ok"])]);
    assert!(inference.status().last_success.is_none());
    inference.complete(job()).await.expect_err("refused");
    inference.complete(job()).await.expect("an answer");
    let status = inference.status();
    assert!(status.last_success.is_some());
    assert_eq!(status.last_failure.map(|failure| failure.code), Some("provider_credentials"));
    assert_eq!(status.served_by.map(|served_by| served_by.model), Some("scripted-1".into()));
}

#[test]
fn debug_output_of_a_job_shows_no_question() {
    assert!(!format!("{:?}", asking("canary")).contains("canary"));
}
