//! The model's answer: asked for with the passages fenced, believed as far as it quotes them.
//!
//! One call without a repair of quotations: a person waits, and what is left without the wrong
//! sentences is still an answer.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use atlas_domain::{Corpus, Filter};
use atlas_inference::{
    Answered, ChatRequest, Feature, Inference, InferenceError, Job, JsonSchema, Message, Output,
};
use serde::Deserialize;
use serde_json::json;

use super::api::{AskPassage, AskProgress, Sentence};
use crate::rca::{Citation, quoting};

const SYSTEM: &str = include_str!("prompts/system.md");
const USER: &str = include_str!("prompts/user.md");

/// Tokens of passages that are shown.
const PASSAGES_TOKENS: usize = 4_000;
/// Longest text of one passage in characters, as in an analysis.
const PASSAGE_CHARACTERS: usize = 1_600;
/// Most sentences of an answer; a model that says more is cut.
const MOST_SENTENCES: usize = 8;

/// What a model made of the passages.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) sentences: Vec<Sentence>,
    pub(super) dropped_citations: usize,
    pub(super) dropped_sentences: usize,
    pub(super) answered: Answered,
    pub(super) is_small: bool,
}

#[derive(Debug, Deserialize)]
struct ModelAnswer {
    answered: bool,
    sentences: Vec<ModelSentence>,
}

#[derive(Debug, Deserialize)]
struct ModelSentence {
    text: String,
    citations: Vec<Citation>,
}

/// One passage as the model reads it; what it quotes is looked up here.
struct Shown {
    id: String,
    text: String,
}

pub(super) async fn write(
    inference: &Inference,
    question: &str,
    filter: &Filter,
    passages: &[AskPassage],
    deadline: Duration,
    progress: &(impl Fn(AskProgress) + Send + Sync),
) -> Result<Written, InferenceError> {
    let began = Instant::now();
    let limits = inference.limits(Feature::Search).ok();
    let frame = chat(question, filter, &[], 0);
    let frame_tokens = frame.messages.iter().map(|turn| quoting::tokens(turn.text())).sum();
    let room = quoting::share(limits, frame_tokens, PASSAGES_TOKENS);
    let mut budget = room.evidence_tokens;
    let (shown, claimed, answered) = loop {
        let shown = within(passages, budget);
        let request = chat(question, filter, &shown, room.answer_tokens);
        progress(AskProgress::Asking);
        let deadline = deadline.saturating_sub(began.elapsed());
        let job = Job { feature: Feature::Search, request, model: None, deadline, on_text: None };
        match inference.complete_json::<ModelAnswer>(job, |_| Ok(())).await {
            Ok((claimed, answered)) => break (shown, claimed, answered),
            // What a context really holds is known when it refuses.
            Err(error) if error.wants_shorter_prompt() && budget / 2 >= quoting::LEAST_EVIDENCE_TOKENS => {
                budget /= 2
            }
            Err(error) => return Err(error),
        }
    };
    progress(AskProgress::Validating);
    let (mut dropped_citations, mut dropped_sentences) = (0, 0);
    let mut sentences = Vec::new();
    let claimed = if claimed.answered { claimed.sentences } else { Vec::new() };
    let texts: Vec<&str> = shown.iter().map(|passage| passage.text.as_str()).collect();
    for ModelSentence { text, mut citations } in claimed.into_iter().take(MOST_SENTENCES) {
        let text_of = |id: &str| shown.iter().find(|passage| passage.id == id).map(|p| p.text.as_str());
        dropped_citations += quoting::keep_true(&mut citations, text_of);
        let text = quoting::free_text(&text, &texts);
        if citations.is_empty() || text.is_empty() {
            dropped_sentences += 1;
        } else {
            sentences.push(Sentence { text, citations });
        }
    }
    let is_small = room.is_small || budget < room.evidence_tokens;
    Ok(Written { sentences, dropped_citations, dropped_sentences, answered, is_small })
}

/// The best passages that fit. One that does not is left out, and a shorter one may follow.
fn within(passages: &[AskPassage], budget_tokens: usize) -> Vec<Shown> {
    let mut left = budget_tokens;
    let mut shown = Vec::new();
    for passage in passages {
        let text = text_of(passage);
        let cost = quoting::tokens(&text) + quoting::FENCE_TOKENS;
        if cost <= left {
            left -= cost;
            shown.push(Shown { id: passage.evidence_id.clone(), text });
        }
    }
    shown
}

/// Short lines of `name: value`, so that a quotation of a line is a quotation of a fact.
fn text_of(passage: &AskPassage) -> String {
    let kind = match passage.key.corpus {
        Corpus::Runbooks => "runbook section",
        Corpus::Incidents => "incident",
        Corpus::Alerts => "alert",
        Corpus::Logs => "log line",
        Corpus::LogTemplates => "log template",
        Corpus::AlertGroups => "alert group",
    };
    let mut text = String::new();
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
    };
    let facets = &passage.facets;
    let heading = if passage.heading.is_empty() { &passage.title } else { &passage.heading };
    line(kind, Some(if heading.is_empty() { passage.key.id.as_str() } else { heading }));
    // A runbook's time is when it was written.
    let at = facets.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    line("time", Some(at.as_str()).filter(|_| passage.key.corpus != Corpus::Runbooks));
    line("service", facets.service.as_deref());
    line("severity", facets.severity.as_deref());
    line("status", facets.status.as_deref());
    text.push_str(passage.text.trim());
    match text.char_indices().nth(PASSAGE_CHARACTERS) {
        Some((end, _)) => format!("{} [cut]", &text[..end]),
        None => text,
    }
}

fn chat(question: &str, filter: &Filter, shown: &[Shown], answer_tokens: u32) -> ChatRequest {
    let question: String = question.chars().take(2_000).collect();
    let conditions = match filter.is_empty() {
        true => "none".to_owned(),
        false => serde_json::to_string(filter).unwrap_or_default(),
    };
    let texts = || {
        let passages = shown.iter().map(|passage| passage.text.as_str());
        passages.chain([question.as_str(), conditions.as_str()])
    };
    let boundary = quoting::boundary("passage", texts);
    let fenced: Vec<String> =
        shown.iter().map(|passage| quoting::fence(&boundary, &passage.id, &passage.text)).collect();
    let user = quoting::fill(
        USER,
        &[
            ("boundary", &boundary),
            ("question", &question),
            ("conditions", &conditions),
            ("passages", &fenced.join("\n\n")),
        ],
    );
    ChatRequest {
        messages: vec![
            Message::system(quoting::fill(SYSTEM, &[("boundary", &boundary)])),
            Message::user(user),
        ],
        output: Output::Schema(schema()),
        max_output_tokens: Some(answer_tokens),
        // The same passages should give the same answer.
        temperature: Some(0.0),
        ..ChatRequest::default()
    }
}

/// The schema of [`ModelAnswer`], in the subset that every provider understands.
fn schema() -> JsonSchema {
    let citation = quoting::object(json!({"evidence_id": {"type": "string"}, "quote": {"type": "string"}}));
    let sentence = quoting::object(json!({
        "text": {"type": "string"},
        "citations": {"type": "array", "items": citation},
    }));
    let schema = quoting::object(json!({
        "answered": {"type": "boolean"},
        "sentences": {"type": "array", "items": sentence},
    }));
    JsonSchema { name: "answer_from_passages".into(), schema }
}
