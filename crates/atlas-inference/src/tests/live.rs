//! Settings that change while jobs run.

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::ProviderError;
use atlas_testkit::scripted_model::{ScriptedModel, Turn};
use futures_util::StreamExt;

use super::{failed, inference, job, plugs, scripted};
use crate::*;

#[tokio::test(start_paused = true)]
async fn a_running_stream_finishes_on_its_snapshot() {
    let (_, inference) = scripted([Turn::says(["a", "b"]).pausing(Duration::from_secs(1))]);
    let opened = inference.open(job()).await.expect("an answer");
    let other = Arc::new(ScriptedModel::new([Turn::says(["new"])]).named("scripted-2"));
    inference.apply(Plugs { generation: 2, ..plugs(&other) });
    assert_eq!(opened.served_by.model, "scripted-1");
    let events: Vec<_> = opened.events.collect().await;
    assert!(events.iter().all(Result::is_ok), "{events:?}");
    let answered = inference.complete(job()).await.expect("an answer");
    assert_eq!((answered.text.as_str(), answered.served_by.model.as_str()), ("new", "scripted-2"));
    assert_eq!(inference.status().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_retries_does_so_on_its_snapshot() {
    let (model, inference) = scripted([Turn::refuses(failed()), Turn::says(["old"])]);
    let other = Arc::new(ScriptedModel::new([]));
    let (answered, ()) = tokio::join!(inference.complete(job()), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        inference.apply(plugs(&other));
    });
    assert_eq!((answered.expect("an answer").text.as_str(), model.turns_left()), ("old", 0));
    assert!(other.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn new_settings_begin_with_a_closed_breaker() {
    let (_, inference) = scripted((0..5).map(|_| Turn::refuses(failed())));
    for _ in 0..2 {
        inference.complete(job()).await.expect_err("down");
    }
    assert_eq!(inference.status().breaker, BreakerState::Open);
    let other = Arc::new(ScriptedModel::new([Turn::says(["ok"])]));
    inference.apply(plugs(&other));
    assert_eq!(inference.status().breaker, BreakerState::Closed);
    assert!(inference.status().last_failure.is_none(), "the failures were another provider's");
    inference.complete(job()).await.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn a_path_can_be_taken_away_and_given_back() {
    let model = Arc::new(ScriptedModel::new([Turn::says(["ok"])]));
    let inference = inference(Plugs::not_configured());
    assert_eq!(inference.ready().expect_err("nothing").code(), "ai_not_configured");
    assert!(inference.models().is_empty());
    inference.apply(plugs(&model));
    inference.ready().expect("a provider");
    inference.complete(job()).await.expect("an answer");
    inference.apply(Plugs::misconfigured(ProviderError::setting("BYOC_MODEL", "it is empty")));
    assert_eq!(inference.ready().expect_err("wrong").code(), "provider_settings");
    assert_eq!(inference.limits(Feature::Rca).expect_err("wrong").code(), "provider_settings");
}

/// The bar of the issue in small: every job sees one snapshot whole.
#[tokio::test(start_paused = true)]
async fn no_job_sees_half_of_a_change() {
    let made = |n: usize| {
        let turn = Turn::says([format!("from {n}").as_str()]).after(Duration::from_millis(2));
        Arc::new(ScriptedModel::new((0..400).map(|_| turn.clone())).named(&format!("model-{n}")))
    };
    let models = [made(0), made(1)];
    let inference = Arc::new(inference(plugs(&models[0])));
    let asking = (0..4).map(|_| {
        let inference = Arc::clone(&inference);
        tokio::spawn(async move {
            for _ in 0..100 {
                let answered = inference.complete(job()).await.expect("an answer");
                let (text, model) = (answered.text.as_str(), answered.served_by.model.as_str());
                assert_eq!(text.strip_prefix("from "), model.strip_prefix("model-"));
            }
        })
    });
    let asking = futures_util::future::join_all(asking.collect::<Vec<_>>());
    let changing = async {
        for n in 0..1_000 {
            inference.apply(plugs(&models[n % 2]));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (asked, ()) = tokio::join!(asking, changing);
    asked.into_iter().for_each(|outcome| outcome.expect("every job saw one snapshot"));
}
