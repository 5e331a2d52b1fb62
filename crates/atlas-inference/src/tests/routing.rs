//! Which model a job goes to, and what is made of its request there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atlas_domain::ModelFacts;
use atlas_llm::{CapabilityProfile, ChatModel};
use atlas_testkit::scripted_model::{ScriptedModel, ScriptedProvider, Turn};
use serde_json::json;

use super::{inference, job, plugs};
use crate::*;

fn model(name: &str, n_turns: usize) -> Arc<ScriptedModel> {
    Arc::new(ScriptedModel::new((0..n_turns).map(|_| Turn::says(["ok"]))).named(name))
}

fn profile(profile: CapabilityProfile) -> Vec<StoredProfile> {
    let of = |text: &str| text.to_owned();
    vec![StoredProfile { provider: of("scripted"), host: of("127.0.0.1"), model: of("scripted-1"), profile }]
}

fn knowing(facts: ModelFacts) -> (Arc<ScriptedModel>, Inference) {
    let model = Arc::new(ScriptedModel::new((0..4).map(|_| Turn::says(["{}"]))).knowing(facts));
    let inference = inference(plugs(&model));
    (model, inference)
}

fn demanding() -> Job {
    let schema = JsonSchema { name: "s".into(), schema: json!({ "type": "object" }) };
    let tool = Tool { name: "get".into(), description: "gets".into(), parameters: json!({}), strict: false };
    let mut job = job();
    job.request.messages.insert(0, Message::system("Be brief."));
    job.request.tools = vec![tool];
    job.request.tool_choice = ToolChoice::Required;
    job.request.parallel_tool_calls = Some(true);
    job.request.output = Output::Schema(schema);
    job
}

#[tokio::test(start_paused = true)]
async fn a_feature_may_have_a_model_of_its_own() {
    let (small, large) = (model("small", 2), model("large", 1));
    let provider = ScriptedProvider::of([Arc::clone(&small), Arc::clone(&large)]);
    let models = BTreeMap::from([(Feature::Rca, "large".to_owned())]);
    let inference = inference(Plugs { models, ..Plugs::ready(provider, "small") });
    let asked = |feature| inference.complete(Job { feature, ..job() });
    assert_eq!(asked(Feature::Rca).await.expect("an answer").served_by.model, "large");
    assert_eq!(asked(Feature::Search).await.expect("an answer").served_by.model, "small");
    assert_eq!(inference.models(), ["small", "large"]);
    let models = inference.status().models;
    let models: Vec<_> = models.iter().map(|of| (of.feature.as_str(), of.model.as_str())).collect();
    assert_eq!(models, [("rca", "large"), ("runbook", "small"), ("copilot", "small"), ("search", "small")]);
}

#[tokio::test(start_paused = true)]
async fn a_job_may_name_a_configured_model_and_no_other() {
    let (small, large) = (model("small", 0), model("large", 1));
    let provider = ScriptedProvider::of([small, large]);
    let models = BTreeMap::from([(Feature::Rca, "large".to_owned())]);
    let inference = inference(Plugs { models, ..Plugs::ready(provider, "small") });
    let naming = |name: &str| Job { feature: Feature::Inbound, model: Some(name.into()), ..job() };
    assert_eq!(inference.complete(naming("large")).await.expect("an answer").served_by.model, "large");
    let error = inference.complete(naming("huge")).await.expect_err("unknown");
    assert_eq!(error.code(), "ai_model_unknown");
    assert_eq!(error.to_string(), "the model \"huge\" is not configured here; configured: small, large");
}

#[tokio::test(start_paused = true)]
async fn a_route_is_kept_for_five_minutes() {
    let model = model("scripted-1", 4);
    let provider = ScriptedProvider::of([Arc::clone(&model)]);
    let inference = inference(Plugs::ready(provider.clone(), "scripted-1"));
    for (wait, connects) in [(0, 1), (299, 1), (1, 2)] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        inference.complete(job()).await.expect("an answer");
        assert_eq!(provider.n_connects(), connects, "after {wait} s more");
    }
    inference.restore_profiles(vec![]);
    inference.complete(job()).await.expect("an answer");
    assert_eq!(provider.n_connects(), 3, "what was measured counts at once");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_does_not_connect_is_named_in_the_status() {
    let provider = ScriptedProvider::of([model("small", 0)]);
    let models = BTreeMap::from([(Feature::Copilot, "gone".to_owned())]);
    let inference = inference(Plugs { models, ..Plugs::ready(provider, "small") });
    let error = inference.complete(Job { feature: Feature::Copilot, ..job() }).await.expect_err("gone");
    assert_eq!(error.code(), "provider_settings");
    let status = inference.status();
    let problems: Vec<_> =
        status.models.iter().filter(|of| of.problem.is_some()).map(|of| of.feature).collect();
    assert_eq!((status.state, problems), ("ready", vec![Feature::Copilot]));
}

#[tokio::test(start_paused = true)]
async fn an_able_or_unknown_model_gets_the_request_as_it_is() {
    for facts in [
        ModelFacts::default(),
        ModelFacts { tools: Some(true), json_schema: Some(true), ..ModelFacts::default() },
    ] {
        let (model, inference) = knowing(facts);
        let answered = inference.complete(demanding()).await.expect("an answer");
        assert!(answered.degraded.is_empty());
        assert_eq!(model.requests()[0], demanding().request);
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_without_tools_and_schemas_is_asked_without_and_the_answer_says_so() {
    let facts = ModelFacts { tools: Some(false), json_schema: Some(false), ..ModelFacts::default() };
    let (model, inference) = knowing(facts);
    let answered = inference.complete(demanding()).await.expect("an answer");
    assert_eq!(answered.degraded, ["tools", "json_schema"]);
    let asked = &model.requests()[0];
    assert_eq!(
        (asked.tools.len(), &asked.tool_choice, asked.parallel_tool_calls),
        (0, &ToolChoice::Auto, None)
    );
    assert!(asked.output.schema().is_some(), "the provider may have a way of its own");
    assert!(asked.messages[1].text().contains("{\"type\":\"object\"}"), "{:?}", asked.messages);
    let degraded: Vec<_> = inference.status().models.into_iter().map(|of| of.degraded).collect();
    assert_eq!(degraded, [vec!["json_schema"], vec!["json_schema"], vec!["tools"], vec!["json_schema"]]);
    let opened = inference.open(demanding()).await.expect("an answer");
    assert_eq!(opened.degraded, ["tools", "json_schema"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_stands_before_what_is_told() {
    let facts = ModelFacts { tools: Some(true), json_schema: Some(true), ..ModelFacts::default() };
    let (model, inference) = knowing(facts);
    inference.restore_profiles(profile(CapabilityProfile {
        tools: Some(false),
        json_schema: Some(false),
        ..CapabilityProfile::default()
    }));
    let answered = inference.complete(demanding()).await.expect("an answer");
    assert_eq!(answered.degraded, ["tools", "json_schema"]);
    assert_eq!(model.requests()[0].output, Output::Json);
}

#[tokio::test(start_paused = true)]
async fn a_context_counts_as_told_unless_it_was_seen_to_be_cut() {
    for (told, measured, expect) in [
        (Some(128_000), None, Some(128_000)),
        (Some(128_000), Some(12_400), Some(128_000)),
        (Some(128_000), Some(8_192), Some(8_192)),
        (Some(128_000), Some(4_096), Some(4_096)),
        (Some(8_192), Some(5_000), Some(8_192)),
        (Some(8_192), Some(2_048), Some(2_048)),
        (None, Some(12_400), Some(12_400)),
        (None, None, None),
    ] {
        let (_, inference) = knowing(ModelFacts { context_tokens: told, ..ModelFacts::default() });
        inference.restore_profiles(profile(CapabilityProfile {
            context_tokens: measured,
            ..CapabilityProfile::default()
        }));
        let limits = inference.limits(Feature::Rca).expect("a model");
        assert_eq!(limits.context_tokens, expect, "told {told:?}, measured {measured:?}");
        assert!(limits.tools && limits.json_schema, "unknown is allowed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_near_its_end_is_warned_about() {
    let past =
        ModelFacts { shutdown_date: Some("2020-01-01".parse().expect("a date")), ..Default::default() };
    let (model, inference) = knowing(past);
    assert_eq!(model.model(), "scripted-1");
    let warnings = inference.status().models.remove(0).warnings;
    assert!(warnings[0].contains("turned this model off"), "{warnings:?}");
}

#[test]
fn profiles_survive_as_json() {
    let measured = CapabilityProfile { tools: Some(true), context_tokens: Some(9), ..Default::default() };
    let stored = profile(measured);
    let json = serde_json::to_string(&stored).expect("JSON");
    assert_eq!(serde_json::from_str::<Vec<StoredProfile>>(&json).expect("profiles"), stored);
}
