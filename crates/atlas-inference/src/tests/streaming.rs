//! Answers that are handed over as they come.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atlas_domain::{ProviderError, ProviderErrorKind as Kind};
use atlas_llm::{ChatEvent, Usage};
use atlas_testkit::scripted_model::Turn;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{error, failed, job, scripted};
use crate::*;

fn text(piece: &str) -> ChatEvent {
    ChatEvent::Text(piece.into())
}

async fn events(opened: Opened) -> Vec<Result<ChatEvent, ProviderError>> {
    opened.events.collect().await
}

#[tokio::test(start_paused = true)]
async fn pieces_are_handed_over_as_they_come() {
    let usage = Usage { input: 3, output: 2, ..Usage::default() };
    let turn = Turn::says(["a", "b"]).using(usage).pausing(Duration::from_secs(1));
    let (_, inference) = scripted([turn]);
    let started = Instant::now();
    let mut opened = inference.open(job()).await.expect("an answer");
    assert_eq!(started.elapsed(), Duration::from_secs(1), "the first piece is the begin");
    assert_eq!(opened.events.next().await, Some(Ok(text("a"))));
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    assert_eq!(opened.events.next().await, Some(Ok(text("b"))));
    assert_eq!(started.elapsed(), Duration::from_secs(2));
    let estimated = Arc::clone(&opened.usage_estimated);
    assert_eq!(events(opened).await, [Ok(ChatEvent::Usage(usage)), Ok(ChatEvent::Finished(Finish::Stop))]);
    assert!(!estimated.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_missing_usage_is_put_before_the_end_and_marked() {
    let (_, inference) = scripted([Turn::says(["12345678"])]);
    let opened = inference.open(job()).await.expect("an answer");
    let estimated = Arc::clone(&opened.usage_estimated);
    let guess = Usage { input: 6, output: 2, ..Usage::default() };
    assert_eq!(
        events(opened).await,
        [Ok(text("12345678")), Ok(ChatEvent::Usage(guess)), Ok(ChatEvent::Finished(Finish::Stop))]
    );
    assert!(estimated.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_first_piece_is_repeated_before_it_opens() {
    let (model, inference) =
        scripted([Turn::refuses(failed()), Turn::breaks_after([], failed()), Turn::says(["ok"])]);
    let opened = inference.open(job()).await.expect("an answer");
    assert_eq!(events(opened).await[0], Ok(text("ok")));
    assert_eq!((model.turns_left(), inference.counters().retries), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_thought_that_was_shown_is_not_taken_back() {
    let thinking = [ChatEvent::Reasoning("hm".into())];
    let (model, inference) = scripted([Turn::yields(thinking), Turn::says(["ok"])]);
    let opened = inference.open(job()).await.expect("a thought");
    let events = events(opened).await;
    assert_eq!(events[0], Ok(ChatEvent::Reasoning("hm".into())));
    let broken = events[1].as_ref().expect_err("cut");
    assert_eq!((broken.kind(), events.len(), model.turns_left()), (Kind::CutShort, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_provider_is_an_error_and_not_a_stream() {
    let (_, inference) = scripted([Turn::refuses(error(Kind::Credentials))]);
    let refused = inference.open(job()).await.err().expect("refused");
    assert_eq!(refused.code(), "provider_credentials");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_counts_against_the_provider_and_one_that_is_dropped_does_not() {
    let (model, inference) = scripted((0..5).map(|_| Turn::says(["a", "b"])));
    for _ in 0..5 {
        let mut opened = inference.open(job()).await.expect("an answer");
        opened.events.next().await.expect("a piece").expect("text");
    }
    assert_eq!(inference.status().breaker, BreakerState::Closed);
    assert_eq!((inference.counters().cancelled, inference.counters().failed), (5, 0));
    assert_eq!(inference.counters().output_tokens, 5, "what was read is counted");

    model.then((0..5).map(|_| Turn::breaks_after(["a"], failed())));
    for _ in 0..5 {
        let events = events(inference.open(job()).await.expect("an answer")).await;
        assert!(matches!(&events[..], [Ok(_), Err(_)]), "{events:?}");
    }
    assert_eq!(inference.status().breaker, BreakerState::Open);
    assert_eq!((inference.counters().cancelled, inference.counters().failed), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_stream_holds_its_slot_until_it_ends() {
    let (model, inference) = scripted((0..16).map(|_| Turn::says(["a", "b"])));
    let mut all = Vec::new();
    for _ in 0..16 {
        all.push(inference.open(job()).await.expect("a slot"));
    }
    assert_eq!(inference.open(job()).await.err().expect("busy").code(), "ai_busy");
    model.then([Turn::says(["ok"]), Turn::says(["ok"])]);
    // Other tools have slots of their own.
    inference.open(Job { feature: Feature::Inbound, ..job() }).await.expect("another slot");

    let first = all.remove(0);
    events(first).await;
    inference.open(job()).await.expect("a free slot");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_stream_too() {
    let (_, inference) = scripted([Turn::says(["a", "b", "c"]).pausing(Duration::from_secs(4))]);
    let opened = inference.open(Job { deadline: Duration::from_secs(10), ..job() }).await.expect("a piece");
    let events = events(opened).await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[2].as_ref().expect_err("late").kind(), Kind::Timeout);
    assert_eq!(inference.status().breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_over_when_its_answer_begins() {
    let (model, inference) = scripted((0..5).map(|_| Turn::refuses(failed())));
    for _ in 0..2 {
        inference.complete(job()).await.expect_err("down");
    }
    tokio::time::advance(Duration::from_secs(15)).await;
    model.then([Turn::says(["a", "b"]), Turn::says(["ok"])]);
    let _long = inference.open(job()).await.expect("the trial");
    assert_eq!(inference.status().breaker, BreakerState::Closed);
    inference.complete(job()).await.expect("nobody waits for the end of the trial");
}

#[tokio::test(start_paused = true)]
async fn tool_calls_and_refusals_are_part_of_an_answer() {
    let call = ToolCall { id: "c1".into(), name: "get".into(), arguments: "{\"a\":1}".into() };
    let (_, inference) = scripted([
        Turn::calls([call.clone()]),
        Turn::yields([ChatEvent::Refusal("No.".into()), ChatEvent::Finished(Finish::Refusal)]),
    ]);
    let answered = inference.complete(job()).await.expect("an answer");
    assert_eq!((answered.tool_calls, answered.finish), (vec![call], Finish::ToolCalls));
    let answered = inference.complete(job()).await.expect("an answer");
    assert_eq!((answered.refusal.as_str(), answered.text.as_str()), ("No.", ""));
}
