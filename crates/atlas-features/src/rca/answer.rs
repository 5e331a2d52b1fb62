//! What the model is asked to say, as a schema and as a type.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atlas_inference::{Answered, Feature, Inference, Job, OnText};
use atlas_inference::{ChatRequest, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::RcaProgress;
use super::evidence::Evidence;
use super::quotes;
use crate::error::FeatureError;

/// How sure an analysis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The evidence shows cause and effect.
    Confirmed,
    /// The evidence points to one cause.
    Likely,
    /// It does not.
    Inconclusive,
}

/// How sure a hypothesis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// It fits, and so does much else.
    Low,
    /// It explains most of the evidence.
    Medium,
    /// The evidence shows the mechanism.
    High,
}

/// A quotation from the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// Which item.
    pub evidence_id: String,
    /// Words of it.
    pub quote: String,
}

/// A possible cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// The cause and how it leads to the symptoms.
    pub cause: String,
    /// How sure.
    pub confidence: Confidence,
    /// What it rests on.
    pub citations: Vec<Citation>,
    /// Where it would be, when all that is cited is about one service. Never of the model's making.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// What speaks against it: alerts of others that began earlier.
    #[serde(skip_deserializing)]
    pub against: Vec<Citation>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextStep {
    /// What.
    pub action: String,
    /// What suggests it.
    pub citations: Vec<Citation>,
}

/// The model's answer as it came. An answer that names more than it should is cut, not refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ModelAnswer {
    pub(super) verdict: Verdict,
    pub(super) summary: String,
    pub(super) hypotheses: Vec<Hypothesis>,
    pub(super) next_steps: Vec<NextStep>,
}

/// The schema of [`ModelAnswer`], in the subset that every provider understands.
pub(super) fn schema() -> JsonSchema {
    let citations = json!({
        "type": "array",
        "items": object(json!({"evidence_id": {"type": "string"}, "quote": {"type": "string"}})),
    });
    let hypothesis = object(json!({
        "cause": {"type": "string"},
        "confidence": {"type": "string", "enum": ["low", "medium", "high"]},
        "citations": citations,
    }));
    let step = object(json!({"action": {"type": "string"}, "citations": citations}));
    let schema = object(json!({
        "verdict": {"type": "string", "enum": ["confirmed", "likely", "inconclusive"]},
        "summary": {"type": "string"},
        "hypotheses": {"type": "array", "items": hypothesis},
        "next_steps": {"type": "array", "items": step},
    }));
    JsonSchema { name: "root_cause_analysis".into(), schema }
}

/// An object that requires every property and allows no other.
pub(crate) fn object(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(|names| names.keys()).collect();
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

/// Asks the model. Wrong quotations are reported to it once; what is still wrong then is left to
/// [`quotes::check`], for half an answer with true quotations is better than none.
pub(super) async fn ask(
    inference: &Inference,
    request: ChatRequest,
    evidence: &[Evidence],
    deadline: Duration,
    progress: &(impl Fn(RcaProgress) + Send + Sync),
) -> Result<(ModelAnswer, Answered), FeatureError> {
    // A watch and not a queue: a slow reader sees fewer numbers, not late ones.
    let (written, mut heard) = watch::channel(String::new());
    let first_turn = heard.clone();
    let on_text: OnText = Box::new(move |piece| written.send_modify(|text| text.push_str(piece)));
    let job = Job { feature: Feature::Rca, request, model: None, deadline, on_text: Some(on_text) };

    let complained = AtomicBool::new(false);
    let validate = |answer: &ModelAnswer| {
        let complaints = quotes::complaints(answer, evidence);
        // A second refusal would cost the whole answer. When the first turn was no answer at
        // all, this is the second.
        let last_turn = complained.load(Ordering::Relaxed) || !reads_as_answer(&first_turn.borrow());
        if complaints.is_empty() || last_turn {
            return Ok(());
        }
        complained.store(true, Ordering::Relaxed);
        Err(complaints)
    };
    let answering = inference.complete_json(job, validate);
    let mut answering = std::pin::pin!(answering);
    loop {
        tokio::select! {
            biased;
            answered = &mut answering => return Ok(answered?),
            Ok(()) = heard.changed() => {
                let characters = heard.borrow_and_update().chars().count();
                progress(RcaProgress::Writing { characters });
            }
        }
    }
}

fn reads_as_answer(text: &str) -> bool {
    let object = text.find('{').zip(text.rfind('}')).and_then(|(start, end)| text.get(start..=end));
    object.is_some_and(|object| serde_json::from_str::<ModelAnswer>(object).is_ok())
}
