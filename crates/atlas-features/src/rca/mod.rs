//! Root cause analysis: evidence first, then one question to the model, then a check of every
//! quotation.
//!
//! A model invents causes that sound right. So each claim has to quote the evidence it rests on,
//! the server looks every quotation up, and what cannot be found is dropped and counted. What
//! remains may be wrong, but never unsupported.
//!
//! Without a model, or with one whose answer cannot be used, [`rules`] fill the same answer, and
//! the answer says so.
//!
//! Not here: choosing the model.

mod answer;
mod evidence;
mod failure;
mod pack;
mod plain;
mod prompt;
mod quotes;
pub(crate) mod ranking;
mod render;
mod room;
mod rules;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod measured;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use atlas_domain::{Incident, RecordId, TenantScope};
use atlas_inference::{Answered, Feature, Inference, InferenceError, ServedBy, Usage};
use atlas_retrieval::{Leg, Retrieval};
use serde::Serialize;

pub use answer::{Citation, Confidence, Hypothesis, NextStep, Verdict};
pub use evidence::{Evidence, EvidenceKind};
pub use pack::Omitted;
pub use rules::Moment;

use crate::alerts::correlation::Topology;
use crate::error::FeatureError;
use crate::records;
use evidence::Found;
use pack::Pack;
use quotes::Checked;

/// What every answer with quotations is made with, root causes or not.
pub(crate) mod quoting {
    pub(crate) use super::answer::object;
    pub(crate) use super::pack::{FENCE_TOKENS, tokens};
    pub(crate) use super::plain::{free_text, visible};
    pub(crate) use super::prompt::{boundary, fence, fill};
    pub(crate) use super::quotes::keep_true;
    pub(crate) use super::room::{LEAST_EVIDENCE_TOKENS, share};
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct RcaRequest {
    /// The incident.
    pub incident_id: RecordId,
    /// Most tokens of evidence, estimated at four characters each.
    pub evidence_tokens: usize,
    /// How long the whole may take.
    pub deadline: Duration,
}

impl RcaRequest {
    /// A request with the usual limits: 6,000 tokens of evidence leave a small local model with
    /// a context of 8,192 room to answer; 120 s is a slow model on a processor.
    pub fn new(incident_id: RecordId) -> Self {
        Self { incident_id, evidence_tokens: 6_000, deadline: Duration::from_secs(120) }
    }
}

/// How far an analysis is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum RcaProgress {
    /// The evidence is collected and packed.
    Evidence {
        /// Alerts in the pack.
        alerts: usize,
        /// Log templates in the pack.
        logs: usize,
        /// Past incidents in the pack.
        incidents: usize,
        /// Runbook sections in the pack.
        runbooks: usize,
        /// What did not fit.
        omitted: usize,
    },
    /// The model has been asked.
    Asking,
    /// The model writes.
    Writing {
        /// Characters so far.
        characters: usize,
    },
    /// Quotations are being looked up.
    Validating,
}

/// Who made an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Analyst {
    /// The configured model.
    Model,
    /// Fixed rules: order in time, who names whom, what the logs say.
    Rules,
}

/// The result of an analysis.
#[derive(Debug, Clone, Serialize)]
pub struct RcaAnswer {
    /// The incident.
    pub incident_id: RecordId,
    /// How sure.
    pub verdict: Verdict,
    /// Two or three sentences.
    pub summary: String,
    /// Most likely first; each with at least one quotation that was found.
    pub hypotheses: Vec<Hypothesis>,
    /// What to do; each with at least one quotation that was found.
    pub next_steps: Vec<NextStep>,
    /// What the model was shown.
    pub evidence: Vec<Evidence>,
    /// What was left out of it, with the reason.
    pub omitted: Vec<Omitted>,
    /// Quotations that could not be found.
    pub dropped_citations: usize,
    /// Claims that lost their last quotation.
    pub dropped_claims: usize,
    /// Who made it.
    pub analysed_by: Analyst,
    /// Why no model did.
    #[serde(rename = "analysed_because", skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "as_text")]
    pub error: Option<Arc<InferenceError>>,
    /// Where the first hypothesis sees the cause; an entity of the evidence.
    pub root_entity: Option<String>,
    /// What began when, earliest first.
    pub timeline: Vec<Moment>,
    /// The entities that alert.
    pub blast_radius: Vec<String>,
    /// Who answered; nobody, when rules did.
    pub served_by: Option<ServedBy>,
    /// Tokens it took, both turns where a repair was needed.
    pub usage: Usage,
    /// The provider did not count and the tokens are a guess.
    pub usage_estimated: bool,
    /// How many secrets were taken out of the evidence before it left.
    pub redactions: usize,
    /// Search legs that could not help to find evidence.
    pub degraded: Vec<Leg>,
    /// What the analysis did without, because the model lacks it: `context` stands for evidence
    /// that its context had no room for.
    pub ai_degraded: Vec<&'static str>,
    /// Time spent in all.
    #[serde(rename = "took_ms", serialize_with = "as_millis")]
    pub took: Duration,
}

fn as_millis<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

fn as_text<S: serde::Serializer>(
    error: &Option<Arc<InferenceError>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    error.as_ref().map(ToString::to_string).serialize(serializer)
}

/// Root cause analysis for all tenants.
pub struct Rca {
    retrieval: Arc<Retrieval>,
    inference: Arc<Inference>,
}

impl Rca {
    pub(crate) fn new(retrieval: Arc<Retrieval>, inference: Arc<Inference>) -> Self {
        Self { retrieval, inference }
    }

    /// Explains an incident. `progress` is called from the task that waits, and must not block.
    ///
    /// A model that does not answer is no error: the rules do, and the answer carries why.
    pub async fn explain(
        &self,
        scope: &TenantScope,
        request: RcaRequest,
        progress: impl Fn(RcaProgress) + Send + Sync,
    ) -> Result<RcaAnswer, FeatureError> {
        let begun = Instant::now();
        let incident = records::get::<Incident>(&self.retrieval, scope, &request.incident_id).await?.item;
        let found = evidence::gather(&self.retrieval, scope, &incident).await?;
        let made = match self.ask(&incident, &found, &request, begun, &progress).await {
            Ok(made) => made,
            Err(FeatureError::Inference(error)) => {
                let pack = pack::pack(found.candidates.clone(), request.evidence_tokens);
                progress(pack.progress());
                Made::by_rules(&incident, pack, error)
            }
            Err(error) => return Err(error),
        };
        let Made { pack, checked, answered, error, ai_degraded } = made;
        if checked.dropped_citations > 0 {
            tracing::info!(
                dropped_citations = checked.dropped_citations,
                dropped_claims = checked.dropped_claims,
                "an analysis quoted what is not in the evidence"
            );
        }
        let mut hypotheses = checked.answer.hypotheses;
        rules::place(&mut hypotheses, &pack.evidence);
        let usage_estimated = answered.as_ref().is_some_and(|answered| answered.usage_estimated);
        Ok(RcaAnswer {
            incident_id: incident.id,
            verdict: checked.answer.verdict,
            summary: checked.answer.summary,
            root_entity: hypotheses.first().and_then(|hypothesis| hypothesis.entity.clone()),
            hypotheses,
            next_steps: checked.answer.next_steps,
            timeline: rules::timeline(&pack.evidence),
            blast_radius: rules::blast_radius(&pack.evidence),
            evidence: pack.evidence,
            omitted: pack.omitted,
            dropped_citations: checked.dropped_citations,
            dropped_claims: checked.dropped_claims,
            analysed_by: if answered.is_some() { Analyst::Model } else { Analyst::Rules },
            error: error.map(Arc::new),
            usage: answered.as_ref().map_or_else(Usage::default, |answered| answered.usage),
            redactions: answered.as_ref().map_or(0, |answered| answered.redactions),
            served_by: answered.map(|answered| answered.served_by),
            usage_estimated,
            degraded: found.degraded,
            ai_degraded,
            took: begun.elapsed(),
        })
    }

    /// The model's analysis, with every quotation looked up.
    async fn ask(
        &self,
        incident: &Incident,
        found: &Found,
        request: &RcaRequest,
        begun: Instant,
        progress: &(impl Fn(RcaProgress) + Send + Sync),
    ) -> Result<Made, FeatureError> {
        self.inference.ready()?;
        let limits = self.inference.limits(Feature::Rca).ok();
        let frame = prompt::chat(incident, &Pack::default(), 0);
        let frame_tokens = frame.messages.iter().map(|turn| pack::tokens(turn.text())).sum();
        let room = room::share(limits, frame_tokens, request.evidence_tokens);
        // What a model's context really holds is known when it refuses: small models of one's own
        // are asked again with half of the evidence, the most telling half.
        let mut budget = room.evidence_tokens;
        let (pack, claimed, answered) = loop {
            let pack = pack::pack(found.candidates.clone(), budget);
            progress(pack.progress());
            let chat = prompt::chat(incident, &pack, room.answer_tokens);
            progress(RcaProgress::Asking);
            let left = request.deadline.saturating_sub(begun.elapsed());
            match answer::ask(&self.inference, chat, &pack.evidence, left, progress).await {
                Ok((claimed, answered)) => break (pack, claimed, answered),
                Err(FeatureError::Inference(error))
                    if error.wants_shorter_prompt() && budget / 2 >= room::LEAST_EVIDENCE_TOKENS =>
                {
                    budget /= 2;
                }
                Err(error) => return Err(error),
            }
        };
        let mut ai_degraded = answered.degraded.clone();
        if room.is_small || budget < room.evidence_tokens {
            ai_degraded.push("context");
        }
        progress(RcaProgress::Validating);
        let checked = quotes::check(claimed, &pack.evidence);
        Ok(Made { pack, checked, answered: Some(answered), error: None, ai_degraded })
    }
}

/// An analysis, whoever made it.
struct Made {
    pack: Pack,
    checked: Checked,
    answered: Option<Answered>,
    error: Option<InferenceError>,
    ai_degraded: Vec<&'static str>,
}

impl Made {
    /// The quotations of the rules are looked up like those of a model.
    fn by_rules(incident: &Incident, pack: Pack, error: InferenceError) -> Self {
        let claimed = rules::analyse(incident, &pack.evidence, &Topology::default());
        let checked = quotes::check(claimed, &pack.evidence);
        Self { pack, checked, answered: None, error: Some(error), ai_degraded: vec!["model"] }
    }
}
