//! The connection test: the right rung fails with the right hint.

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use atlas_domain::{
    Check, CheckStatus, Destination, DestinationClass, ModelFacts, ProviderError, ProviderErrorKind as Kind,
};
use atlas_llm::{CapabilityProfile, ChatEvent, ChatRequest, Inspection, Usage};
use atlas_testkit::scripted_model::{ScriptedModel, Turn};
use tokio::time::Instant;

use super::{error, failed, inference, job, plugs, refused_key, scripted};
use crate::*;

/// `+` passed, `!` warning, `-` failed, `o` skipped.
fn rungs(report: &TestReport) -> Vec<String> {
    let sign = |status| match status {
        CheckStatus::Passed => '+',
        CheckStatus::Warning => '!',
        CheckStatus::Failed => '-',
        CheckStatus::Skipped => 'o',
    };
    report.checks.iter().map(|check| format!("{}{}", sign(check.status), check.id)).collect()
}

fn check<'a>(report: &'a TestReport, id: &str) -> &'a Check {
    report.checks.iter().find(|check| check.id == id).expect("the check is there")
}

fn ok() -> Turn {
    Turn::says(["OK"])
}

fn paced(pieces: usize) -> Turn {
    Turn::says((0..pieces).map(|_| "1\n")).pausing(Duration::from_millis(20))
}

fn shaped() -> Turn {
    Turn::says(["{\"finding\": \"disk_full\", \"host\": \"web-3\"}"])
}

fn called() -> Turn {
    let arguments = "{\"host\": \"db-7\"}".to_owned();
    Turn::calls([ToolCall { id: "1".into(), name: "report_disk_usage".into(), arguments }])
}

/// Repeats the number at the head of the prompt, and counts tokens as we do.
fn remembers(request: &ChatRequest) -> Turn {
    let prompt = request.messages[0].text();
    let number = prompt.split("report is ").nth(1).and_then(|rest| rest.get(..6)).expect("a number");
    Turn::says([number]).using(Usage { input: prompt.len() as u64 / 4, ..Usage::default() })
}

fn forgets(counted: u64) -> Turn {
    Turn::says(["I do not know."]).using(Usage { input: counted, ..Usage::default() })
}

#[tokio::test(start_paused = true)]
async fn the_connection_test_reports_latency_or_a_hint() {
    let destination = Destination::host(DestinationClass::VendorCloud, "api.openai.com");
    let turns = [ok().after(Duration::from_millis(40)), Turn::refuses(refused_key()), Turn::hangs()];
    let inference = inference(plugs(&Arc::new(ScriptedModel::at(destination, turns))));
    let report = inference.test(false).await;
    assert_eq!((report.status, report.latency_ms), ("ok", Some(40)));
    assert_eq!(rungs(&report), ["+auth", "+model", "+chat"]);
    let report = inference.test(false).await;
    let problem = report.error.as_ref().expect("an error");
    assert_eq!((report.status, problem.code, report.latency_ms), ("error", "provider_credentials", None));
    assert!(problem.hint.contains("BYOC_API_KEY"));
    assert_eq!(rungs(&report), ["-auth", "+model", "ochat"]);
    assert!(!serde_json::to_string(&report).expect("JSON").contains("canary"), "no byte of the provider");
    let started = Instant::now();
    let report = inference.test(false).await;
    assert_eq!(started.elapsed(), Duration::from_secs(15));
    let problem = report.error.expect("an error");
    assert_eq!(problem.code, "provider_timeout");
    assert!(problem.hint.contains("loading the model"), "{}", problem.hint);
}

#[tokio::test(start_paused = true)]
async fn a_good_connection_test_closes_the_breaker() {
    let (model, inference) = scripted((0..5).map(|_| Turn::refuses(failed())));
    for _ in 0..2 {
        inference.complete(job()).await.expect_err("down");
    }
    model.then([ok()]);
    assert_eq!(inference.test(false).await.status, "ok");
    assert_eq!(inference.status().breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_fails_on_the_way_ends_the_climb() {
    let (model, inference) = scripted([]);
    let now = Clock::now();
    model.reached_by([
        Check::passed("policy", now, "allowed"),
        Check::failed("dns", now, "provider_unreachable", "no such name", "check the name"),
    ]);
    let report = inference.test(true).await;
    let expect =
        ["+policy", "-dns", "oauth", "omodel", "ochat", "ostream", "ojson_schema", "otools", "ocontext"];
    assert_eq!(rungs(&report), expect);
    assert_eq!(check(&report, "chat").detail, "not tried: dns failed");
    let problem = report.error.expect("an error");
    assert_eq!((problem.code, problem.hint.as_str()), ("provider_unreachable", "check the name"));
    assert_eq!(model.n_inspections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_put_on_the_rung_it_belongs_to() {
    for (kind, expect) in [
        (Kind::Credentials, ["-auth", "+model", "ochat"]),
        (Kind::Forbidden, ["-auth", "+model", "ochat"]),
        (Kind::NotFound, ["+auth", "-model", "ochat"]),
        (Kind::BadRequest, ["+auth", "+model", "-chat"]),
        (Kind::Quota, ["+auth", "+model", "-chat"]),
        (Kind::Server, ["+auth", "+model", "-chat"]),
        (Kind::Protocol, ["+auth", "+model", "-chat"]),
    ] {
        let (_, inference) = scripted([Turn::refuses(error(kind).with_status(418))]);
        let report = inference.test(false).await;
        assert_eq!(rungs(&report), expect, "{kind:?}");
        assert_eq!(report.error.expect("an error").code, kind.code());
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_deployment_is_called_one() {
    let model = Arc::new(ScriptedModel::new([Turn::refuses(error(Kind::NotFound))]).of("azure"));
    let report = inference(plugs(&model)).test(false).await;
    assert!(report.error.expect("an error").hint.contains("deployment"));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_beforehand_is_told_and_does_not_decide() {
    let (model, inference) = scripted([ok(), ok(), ok()]);
    model.inspects_as(Ok(Inspection {
        credentials_checked: true,
        model_listed: Some(true),
        identity: Some("arn:aws:iam::1:role/x".into()),
        warnings: vec!["it runs with a context of 4096".into()],
        ..Inspection::default()
    }));
    let report = inference.test(false).await;
    assert_eq!(rungs(&report), ["+auth", "!model", "+chat"]);
    assert!(check(&report, "auth").detail.contains("role/x"));
    assert!(check(&report, "model").detail.contains("4096"));

    model.inspects_as(Ok(Inspection { model_listed: Some(false), ..Inspection::default() }));
    assert_eq!(rungs(&inference.test(false).await), ["+auth", "!model", "+chat"]);

    // A key may be allowed to use a model and not to list models.
    model.inspects_as(Err(error(Kind::Forbidden)));
    let report = inference.test(false).await;
    assert_eq!(
        (report.status, rungs(&report)),
        ("ok", vec!["!auth".into(), "+model".into(), "+chat".into()])
    );

    model.inspects_as(Err(refused_key()));
    assert_eq!(rungs(&inference.test(false).await), ["-auth", "omodel", "ochat"]);
}

#[tokio::test(start_paused = true)]
async fn the_deep_rungs_measure_and_routing_uses_it() {
    let (model, inference) = scripted([ok(), paced(10), shaped(), called()]);
    model.replies(remembers);
    let report = inference.test(true).await;
    assert_eq!(
        rungs(&report),
        ["+auth", "+model", "+chat", "+stream", "+json_schema", "+tools", "+context"],
        "{:?}",
        report.checks
    );
    let profile = report.profile.expect("a profile");
    assert!(profile.measured_at.is_some());
    let able = [profile.chat, profile.streaming, profile.tools, profile.json_schema];
    assert_eq!(able, [Some(true); 4]);
    assert!(profile.context_tokens.is_some_and(|tokens| (11_000..13_000).contains(&tokens)));
    assert_eq!(inference.profiles().len(), 1);

    // A short test does not undo what a deep one measured.
    model.then([ok()]);
    let again = inference.test(false).await.profile.expect("a profile");
    assert_eq!(again.tools, Some(true));

    model.then([ok(), paced(10), Turn::says(["It is full."]), Turn::says(["80 %"])]);
    model.replies(remembers);
    let report = inference.test(true).await;
    assert_eq!(
        (check(&report, "json_schema").code, check(&report, "tools").code),
        (Some("json_schema_not_kept"), Some("tools_not_called"))
    );
    assert_eq!((report.status, report.error), ("ok", None));
    let limits = inference.limits(Feature::Rca).expect("a model");
    assert!(!limits.tools && !limits.json_schema);
}

async fn deep(list: Turn, json: Turn, tools: Turn, long: Turn) -> TestReport {
    let (_, inference) = scripted([ok(), list, json, tools, long]);
    inference.test(true).await
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_comes_all_at_once_is_seen() {
    let dump = Turn::says(["1\n"; 40]).after(Duration::from_secs(3));
    let report = deep(dump, shaped(), called(), forgets(12_000)).await;
    let stream = check(&report, "stream");
    assert_eq!((stream.status, stream.code), (CheckStatus::Failed, Some("stream_buffered")));
    assert!(stream.hint.as_deref().expect("a hint").contains("buffering"));
    assert_eq!(report.profile.expect("a profile").streaming, Some(false));
    assert_eq!(report.status, "ok", "the model answers all the same");

    let one_piece = Turn::says(["1\n2\n3"]).pausing(Duration::from_secs(1));
    let report = deep(one_piece, shaped(), called(), forgets(12_000)).await;
    assert_eq!(check(&report, "stream").code, Some("stream_buffered"));

    let slow_begin = paced(40).after(Duration::from_secs(10));
    let report = deep(slow_begin, shaped(), called(), forgets(12_000)).await;
    assert_eq!(check(&report, "stream").status, CheckStatus::Passed);
}

#[tokio::test(start_paused = true)]
async fn json_of_another_shape_is_not_the_shape() {
    for answer in ["{\"finding\":\"fire\",\"host\":\"a\"}", "{\"finding\":\"disk_full\"}", "[1]", "prose"] {
        let report = deep(paced(5), Turn::says([answer]), called(), forgets(12_000)).await;
        assert_eq!(check(&report, "json_schema").status, CheckStatus::Warning, "{answer}");
    }
    let report = deep(paced(5), Turn::refuses(error(Kind::BadRequest)), called(), forgets(12_000)).await;
    assert_eq!(report.profile.expect("a profile").json_schema, Some(false));
}

#[tokio::test(start_paused = true)]
async fn another_tool_or_argument_is_not_the_tool() {
    for (name, arguments) in [
        ("report_disk_usage", "{\"host\":\"db-8\"}"),
        ("other", "{\"host\":\"db-7\"}"),
        ("report_disk_usage", "{"),
    ] {
        let call = ToolCall { id: "1".into(), name: name.into(), arguments: arguments.into() };
        let report = deep(paced(5), shaped(), Turn::calls([call]), forgets(12_000)).await;
        assert_eq!(check(&report, "tools").code, Some("tools_not_called"), "{name} {arguments}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_cut_without_a_word_is_seen() {
    for counted in [2_048, 4_096, 8_192] {
        let report = deep(paced(5), shaped(), called(), forgets(counted)).await;
        let context = check(&report, "context");
        assert_eq!((context.status, context.code), (CheckStatus::Failed, Some("context_truncated")));
        assert!(context.hint.as_deref().expect("a hint").contains("num_ctx"));
        assert_eq!(report.profile.expect("a profile").context_tokens, Some(counted));
    }
    let report = deep(paced(5), shaped(), called(), forgets(12_500)).await;
    assert_eq!(check(&report, "context").code, Some("context_head_forgotten"));
    let report = deep(paced(5), shaped(), called(), Turn::says(["?"])).await;
    let context = check(&report, "context");
    assert_eq!((context.status, context.code), (CheckStatus::Warning, Some("context_unknown")));
}

#[tokio::test(start_paused = true)]
async fn a_context_that_refuses_honestly_is_tried_with_less() {
    let (model, inference) = scripted([ok(), paced(5), shaped(), called()]);
    model.then([Turn::refuses(error(Kind::PromptTooLong)), Turn::refuses(error(Kind::PromptTooLong))]);
    model.replies(remembers);
    let report = inference.test(true).await;
    assert_eq!(check(&report, "context").status, CheckStatus::Passed);
    assert!(report.profile.expect("a profile").context_tokens.is_some_and(|tokens| tokens < 3_300));
}

#[tokio::test(start_paused = true)]
async fn a_known_context_is_not_overrun() {
    let facts = ModelFacts { context_tokens: Some(4_096), ..ModelFacts::default() };
    let model = Arc::new(ScriptedModel::new([ok(), paced(5), shaped(), called()]).knowing(facts));
    model.replies(remembers);
    let inference = inference(plugs(&model));
    let report = inference.test(true).await;
    assert_eq!(check(&report, "context").status, CheckStatus::Passed);
    let asked = model.requests();
    let n_tokens = asked.last().expect("a prompt").messages[0].text().len() / 4;
    assert!((2_300..2_600).contains(&n_tokens), "{n_tokens}");
    assert_eq!(inference.limits(Feature::Rca).expect("a model").context_tokens, Some(4_096));
}

#[tokio::test(start_paused = true)]
async fn a_rung_that_is_slow_leaves_its_question_open_and_the_next_is_climbed() {
    let (model, inference) = scripted([ok(), Turn::hangs(), shaped(), called()]);
    model.replies(remembers);
    let started = Instant::now();
    let report = inference.test(true).await;
    assert_eq!(started.elapsed(), Duration::from_secs(15));
    assert_eq!(check(&report, "stream").status, CheckStatus::Warning);
    assert_eq!(check(&report, "tools").status, CheckStatus::Passed);
    assert_eq!(report.profile.expect("a profile").streaming, None);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_goes_away_ends_the_measuring() {
    let (_, inference) = scripted([ok(), Turn::refuses(ProviderError::new(Kind::Network, "reset"))]);
    let report = inference.test(true).await;
    let expect = ["+auth", "+model", "+chat", "-stream", "ojson_schema", "otools", "ocontext"];
    assert_eq!(rungs(&report), expect);
    assert_eq!(report.status, "ok");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_during_a_test_shares_its_report() {
    let (model, inference) = scripted([ok().after(Duration::from_secs(1))]);
    let (first, second) = tokio::join!(inference.test(false), inference.test(false));
    assert_eq!((first.latency_ms, second.latency_ms), (Some(1_000), Some(1_000)));
    assert_eq!(model.turns_left(), 0);

    // A report of other settings, or of a shorter test, is not shared.
    let other = Arc::new(ScriptedModel::new([ok()]).named("other"));
    model.then([ok().after(Duration::from_secs(1))]);
    let (_, second) = tokio::join!(inference.test(false), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        inference.apply(plugs(&other));
        inference.test(false).await
    });
    assert_eq!(second.model.as_deref(), Some("other"));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_test_does_not_block_the_next() {
    let (_, inference) = scripted([Turn::hangs(), ok()]);
    let cancelled = tokio::time::timeout(Duration::from_secs(1), inference.test(false)).await;
    assert!(cancelled.is_err());
    assert_eq!(inference.test(false).await.status, "ok");
}

#[tokio::test(start_paused = true)]
async fn thoughts_are_pieces_of_a_stream() {
    let thought = || ChatEvent::Reasoning("hm".into());
    let texts = ["1", "2", "3"].map(|text| ChatEvent::Text(text.into()));
    let mut events = vec![thought(), thought()];
    events.extend(texts);
    events.push(ChatEvent::Finished(Finish::Stop));
    let report =
        deep(Turn::yields(events).pausing(Duration::from_millis(50)), shaped(), called(), forgets(12_000))
            .await;
    assert_eq!(check(&report, "stream").status, CheckStatus::Passed);
}

#[test]
fn a_profile_is_a_dated_json_object() {
    let json = serde_json::to_value(CapabilityProfile::default()).expect("JSON");
    assert!(json.get("measured_at").is_some());
}
