//! Answers of a given shape.

use atlas_domain::Retry;
use atlas_llm::{Finish, Message, Usage};
use atlas_testkit::scripted_model::Turn;
use serde::Deserialize;

use super::{job, scripted};
use crate::*;

#[derive(Debug, Deserialize, PartialEq)]
struct Verdict {
    cause: String,
}

fn known_cause(verdict: &Verdict) -> Result<(), Vec<String>> {
    if verdict.cause == "disk" {
        Ok(())
    } else {
        Err(vec![format!("cause: {:?} is not in the evidence", verdict.cause)])
    }
}

#[tokio::test(start_paused = true)]
async fn json_is_found_in_fences_and_prose() {
    let (model, inference) = scripted([Turn::says(["Here:\n```json\n{\"cause\":", " \"disk\"}\n```\n"])]);
    let (verdict, _) = inference.complete_json(job(), known_cause).await.expect("a verdict");
    assert_eq!((verdict.cause.as_str(), model.turns_left()), ("disk", 0));
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_gets_one_turn_with_its_problems() {
    let usage = Usage { input: 10, output: 1, ..Usage::default() };
    let turns =
        [Turn::says(["{\"cause\":\"cpu\"}"]).using(usage), Turn::says(["{\"cause\":\"disk\"}"]).using(usage)];
    let (model, inference) = scripted(turns);
    let (verdict, answered) = inference.complete_json(job(), known_cause).await.expect("repaired");
    assert_eq!((verdict.cause.as_str(), answered.usage.input, answered.usage.output), ("disk", 20, 2));
    let requests = model.requests();
    let repair = &requests[1].messages;
    assert_eq!(repair[1], Message::assistant("{\"cause\":\"cpu\"}"));
    assert!(repair[2].text().contains("\"cpu\" is not in the evidence"), "{}", repair[2].text());
}

#[tokio::test(start_paused = true)]
async fn two_bad_answers_are_unusable() {
    let (model, inference) =
        scripted([Turn::says(["no"]), Turn::says(["{\"reason\": 1}"]), Turn::says(["{}"])]);
    let error = inference.complete_json(job(), known_cause).await.expect_err("unusable");
    assert_eq!((error.code(), error.retry(), model.turns_left()), ("ai_answer_unusable", Retry::Never, 1));
    let InferenceError::Unusable { problems } = error else { panic!("unusable") };
    assert!(problems[0].contains("missing field `cause`"), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_answer_is_told_to_be_shorter() {
    let turns =
        [Turn::says(["{\"cause\": \"di"]).finishing(Finish::Length), Turn::says(["{\"cause\":\"disk\"}"])];
    let (model, inference) = scripted(turns);
    inference.complete_json(job(), known_cause).await.expect("repaired");
    assert!(model.requests()[1].messages[2].text().contains("cut at the token limit"));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_declines_is_not_argued_with() {
    let (model, inference) = scripted([Turn::says([]).finishing(Finish::Refusal), Turn::says(["{}"])]);
    let error = inference.complete_json(job(), known_cause).await.expect_err("declined");
    assert_eq!((error.code(), model.turns_left()), ("ai_answer_unusable", 1));
}
