use std::sync::Mutex;

use atlas_domain::Timestamp;
use atlas_llm::{ModelFacts, ProviderError, ProviderErrorKind};
use atlas_testkit::scripted_model::{ScriptedModel, Turn};
use serde_json::{Value, json};

use super::{demo, id};
use crate::testing::Bench;
use crate::{Analyst, EvidenceKind, FeatureError, RcaAnswer, RcaProgress, RcaRequest, Verdict};

/// Words of the alert on the connection pool: A2, for the latency alert began before it.
const TRUE_QUOTE: &str = "Checkout pod uses its whole database connection pool";

fn answer(citations: Value) -> String {
    let citation = citations.clone();
    json!({
        "verdict": "likely",
        "summary": "The pool is empty.",
        "hypotheses": [{"cause": "a transaction that waits for payments", "confidence": "high", "citations": citations}],
        "next_steps": [{"action": "roll back", "citations": citation}],
    })
    .to_string()
}

fn cite(id: &str, quote: &str) -> Value {
    json!({"evidence_id": id, "quote": quote})
}

async fn explain(bench: &Bench) -> Result<(RcaAnswer, Vec<RcaProgress>), FeatureError> {
    demo::load(bench, Timestamp::now()).await;
    let seen = Mutex::new(Vec::new());
    let request = RcaRequest::new(id("demo-inc-112"));
    let answer = bench
        .features
        .rca()
        .explain(&bench.scope, request, |stage| seen.lock().expect("not poisoned").push(stage))
        .await?;
    Ok((answer, seen.into_inner().expect("not poisoned")))
}

#[tokio::test]
async fn the_evidence_of_the_demo_tells_the_story() {
    let bench = Bench::scripted([Turn::says([answer(json!([cite("A2", TRUE_QUOTE)])).as_str()])]);
    let (answer, stages) = explain(&bench).await.expect("an answer");
    assert_eq!((answer.verdict, answer.dropped_citations), (Verdict::Likely, 0));
    let of = |kind| answer.evidence.iter().filter(move |item| item.kind == kind);
    assert!(of(EvidenceKind::Alert).any(|item| item.text.contains("more of the same rule and service: 2")));
    assert!(of(EvidenceKind::Log).any(|item| item.text.contains("pool timeout: no free connection")));
    assert!(of(EvidenceKind::Incident).any(|item| item.text.contains("root cause: ")));
    assert!(of(EvidenceKind::Runbook).count() > 0);
    let characters: usize = answer.evidence.iter().map(|item| item.text.len()).sum();
    assert!(characters <= 6_000 * 4, "{characters}");
    assert!(matches!(stages[0], RcaProgress::Evidence { alerts: 1.., logs: 1.., .. }), "{stages:?}");
    assert_eq!((&stages[1], stages.last()), (&RcaProgress::Asking, Some(&RcaProgress::Validating)));
    assert_eq!(answer.served_by.as_ref().expect("a model").provider, "scripted");
    let asked = &bench.model.requests()[0];
    assert!(asked.output.schema().is_some());
    assert!(answer.evidence.iter().all(|item| asked.messages[1].text().contains(&item.text)));
    serde_json::to_value(&answer).expect("JSON");
}

#[tokio::test]
async fn a_wrong_quotation_gets_one_repair_and_is_then_dropped() {
    let bad = answer(json!([
        cite("A2", TRUE_QUOTE),
        cite("A1", "the disk of the moon is full"),
        cite("Q7", TRUE_QUOTE)
    ]));
    let bench = Bench::scripted([Turn::says([bad.as_str()]), Turn::says([bad.as_str()])]);
    let (answer, _) = explain(&bench).await.expect("an answer");
    assert_eq!((answer.dropped_citations, answer.dropped_claims), (4, 0));
    assert_eq!(answer.hypotheses[0].citations.len(), 1);
    let asked = bench.model.requests();
    let repair = asked[1].messages.last().expect("a turn").text();
    assert!(repair.contains("there is no evidence \"Q7\""), "{repair}");
}

#[tokio::test]
async fn an_answer_that_is_all_invented_becomes_inconclusive() {
    let invented = answer(json!([cite("A1", "nothing of this was ever said")]));
    let bench = Bench::scripted([Turn::says(["Sure, let me think."]), Turn::says([invented.as_str()])]);
    let (answer, _) = explain(&bench).await.expect("an answer, although both turns were needed");
    assert_eq!(answer.verdict, Verdict::Inconclusive);
    assert_eq!((answer.hypotheses.len(), answer.next_steps.len()), (0, 0));
    assert_eq!((answer.dropped_citations, answer.dropped_claims), (2, 2));
}

/// What the rules must have made of the demo when the model gave nothing.
#[track_caller]
fn check_rules(answer: &RcaAnswer, code: &str, because: &str) {
    assert_eq!(
        (answer.analysed_by, answer.error.as_ref().map(ToString::to_string)),
        (Analyst::Rules, Some(because.to_owned()))
    );
    assert_eq!(answer.error.as_ref().map(|error| error.code()), Some(code));
    assert!(answer.served_by.is_none() && answer.verdict != Verdict::Confirmed);
    assert_eq!((answer.dropped_citations, answer.dropped_claims), (0, 0), "rules quote truly");
    assert!(!answer.hypotheses.is_empty() && !answer.next_steps.is_empty(), "{answer:#?}");
    let texts: String = answer.evidence.iter().map(|item| item.text.as_str()).collect();
    for entity in answer.hypotheses.iter().filter_map(|hypothesis| hypothesis.entity.as_ref()) {
        assert!(texts.contains(entity.as_str()), "{entity} is in no evidence");
    }
    assert_eq!(answer.root_entity, answer.hypotheses[0].entity);
    assert!(answer.timeline.is_sorted_by_key(|moment| moment.at) && !answer.timeline.is_empty());
    assert!(!answer.blast_radius.is_empty());
}

#[tokio::test]
async fn no_json_twice_leaves_the_analysis_to_the_rules() {
    let bench = Bench::scripted([Turn::says(["no"]), Turn::says(["still no"])]);
    let (answer, _) = explain(&bench).await.expect("an answer");
    check_rules(&answer, "ai_answer_unusable", "the AI answer does not have the expected form");
    assert_eq!(answer.root_entity.as_deref(), Some("checkout"), "{:#?}", answer.hypotheses);
}

#[tokio::test]
async fn a_provider_that_is_down_leaves_the_analysis_to_the_rules() {
    let down = || Turn::refuses(ProviderError::new(ProviderErrorKind::Overloaded, "down"));
    let bench = Bench::scripted([down(), down(), down()]);
    let (answer, _) = explain(&bench).await.expect("an answer");
    check_rules(&answer, "ai_unavailable", "AI provider temporarily unavailable");
}

#[tokio::test]
async fn a_context_that_is_too_small_is_asked_again_with_less_evidence() {
    let too_long = || Turn::refuses(ProviderError::new(ProviderErrorKind::PromptTooLong, "4096 tokens"));
    let good = answer(json!([cite("A2", TRUE_QUOTE)]));
    let bench = Bench::scripted([too_long(), Turn::says([good.as_str()])]);
    explain(&bench).await.expect("an answer");
    let asked = bench.model.requests();
    assert!(asked[1].messages[1].text().len() <= asked[0].messages[1].text().len());

    let bench = Bench::scripted((0..6).map(|_| too_long()));
    let (answer, _) = explain(&bench).await.expect("an answer of the rules");
    assert_eq!(answer.error.map(|error| error.code()), Some("prompt_too_long"));
    assert_eq!(bench.model.requests().len(), 6, "6000 tokens, halved five times");
}

#[tokio::test]
async fn a_context_that_is_known_to_be_small_is_packed_into() {
    let good = answer(json!([cite("A2", TRUE_QUOTE)]));
    let asked = |context_tokens| {
        let good = good.clone();
        async move {
            let facts = ModelFacts { context_tokens, ..ModelFacts::default() };
            // The small pack may miss the quoted alert, which costs a repair turn.
            let turns = [Turn::says([good.as_str()]), Turn::says([good.as_str()])];
            let bench = Bench::with(ScriptedModel::new(turns).knowing(facts));
            let (answer, _) = explain(&bench).await.expect("an answer");
            let asked = bench.model.requests().remove(0);
            let characters: usize = asked.messages.iter().map(|turn| turn.text().len()).sum();
            (answer.ai_degraded, characters, asked.max_output_tokens)
        }
    };
    let (degraded, roomy, _) = asked(Some(128_000)).await;
    assert!(degraded.is_empty(), "{degraded:?}");
    let (degraded, small, answer_tokens) = asked(Some(2_048)).await;
    assert_eq!((degraded, answer_tokens), (vec!["context"], Some(682)));
    assert!(small < roomy && small < (2_048 - 682) * 4, "{small} of {roomy} characters");
}

#[tokio::test]
async fn a_refused_key_is_the_inference_paths_error() {
    let bench = Bench::scripted([Turn::refuses(ProviderError::new(ProviderErrorKind::Credentials, "no"))]);
    let (answer, _) = explain(&bench).await.expect("an answer of the rules");
    assert_eq!(answer.error.map(|error| error.code()), Some("provider_credentials"));
}

#[tokio::test]
async fn an_unknown_incident_is_not_found_and_no_model_is_asked() {
    let bench = Bench::new();
    let error = bench.features.rca().explain(&bench.scope, RcaRequest::new(id("nowhere")), |_| {}).await;
    assert_eq!(error.expect_err("not found").code(), "not_found");
    assert!(bench.model.requests().is_empty());
}
