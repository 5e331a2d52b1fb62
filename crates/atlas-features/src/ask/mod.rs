//! Questions in plain words, answered from a tenant's records.
//!
//! The question is read first, by rules: what it says about time, service, host, severity, source
//! and state becomes conditions that are shown and can be edited, the rest is searched. A model is
//! asked last, and only for words: to say what the passages say, each sentence with a quotation
//! that is looked up. Without a model, or while it is down, the passages are the answer; and where
//! nothing matches, that is the answer, with the conditions that may be why.
//!
//! Not here: how a search ranks.

mod api;
mod clock;
mod find;
mod lookup;
mod moment;
mod names;
mod question;
mod states;
mod terms;
#[cfg(test)]
mod tests;
mod vocabulary;
mod when;
mod words;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use atlas_domain::{Corpus, Filter, TenantScope, Timestamp};
use atlas_inference::Inference;
use atlas_retrieval::{Matches, Retrieval};

pub use api::{AnsweredBy, AskAnswer, AskPassage, AskProgress, AskRequest, ModelPart, Sentence, Widening};
pub use clock::{Clock, TimeRange};
pub use question::{Condition, Question, Said, Span, Term, TermKind, Understood};
pub use vocabulary::{Field, Vocabulary};

use crate::error::FeatureError;
use find::{Found, Wanted};
use lookup::Vocabularies;
use writer::Written;

/// Longest question in characters, as of a search.
const QUESTION_CHARACTERS: usize = 8_000;
/// Most passages.
const MOST_PASSAGES: usize = 50;

/// Questions of all tenants.
pub struct Ask {
    retrieval: Arc<Retrieval>,
    inference: Arc<Inference>,
    vocabularies: Vocabularies,
}

impl Ask {
    pub(crate) fn new(retrieval: Arc<Retrieval>, inference: Arc<Inference>) -> Self {
        Self { retrieval, inference, vocabularies: Vocabularies::default() }
    }

    /// Refuses what cannot be asked, before any work.
    pub fn check(request: &AskRequest) -> Result<(), FeatureError> {
        let AskRequest { question, corpora, limit, utc_offset, .. } = request;
        if question.trim().is_empty() {
            return Err(FeatureError::invalid(
                "question",
                "it is missing or empty",
                "say what you want to know",
            ));
        }
        if question.chars().count() > QUESTION_CHARACTERS {
            let reason = format!("it is longer than {QUESTION_CHARACTERS} characters");
            return Err(FeatureError::invalid("question", reason, "ask in a sentence or two"));
        }
        if let Some(corpus) = corpora.iter().find(|corpus| !Corpus::SEARCHABLE.contains(corpus)) {
            let hint = format!("use {}", Corpus::SEARCHABLE.map(Corpus::as_str).join(", "));
            return Err(FeatureError::invalid("corpora", format!("{corpus} cannot be searched"), hint));
        }
        if !(1..=MOST_PASSAGES).contains(limit) {
            let reason = format!("{limit} is not between 1 and {MOST_PASSAGES}");
            return Err(FeatureError::invalid("limit", reason, "leave it out for 10"));
        }
        clock(utc_offset.as_deref(), Timestamp::now()).map(drop)
    }

    /// Answers a question. `progress` is called from the task that waits, and must not block.
    pub async fn answer(
        &self,
        scope: &TenantScope,
        request: AskRequest,
        progress: impl Fn(AskProgress) + Send + Sync,
    ) -> Result<AskAnswer, FeatureError> {
        Self::check(&request)?;
        let began = Instant::now();
        let (understood, filter) = self.understand(scope, &request).await?;
        progress(AskProgress::Understood { understood: Box::new(understood.clone()) });

        let corpora = match request.corpora.is_empty() {
            true => Corpus::SEARCHABLE.to_vec(),
            false => request.corpora,
        };
        let filter = request.filter.unwrap_or(filter);
        let query = request.query.unwrap_or_else(|| understood.query.clone());
        // Nothing but a condition that was taken back: what was typed is looked for.
        let query =
            if query.trim().is_empty() && filter.is_empty() { request.question.clone() } else { query };
        let wanted = Wanted { query, corpora, filter, limit: request.limit };
        let found = find::find(&self.retrieval, scope, &wanted, &understood.terms).await?;
        progress(AskProgress::Found { passages: found.passages.len(), matches: found.matches });

        let mut answer = from_passages(understood, &wanted, found);
        if answer.matches == Matches::None {
            answer.widen = find::widen(&self.retrieval, scope, &wanted, &answer.understood.terms).await?;
            answer.answer = nothing_matches(&answer.widen, &wanted.filter);
        } else if request.with_model {
            let left = request.deadline.saturating_sub(began.elapsed());
            let (filter, passages) = (&answer.filter, &answer.passages);
            let written =
                writer::write(&self.inference, &request.question, filter, passages, left, &progress).await;
            match written {
                Ok(written) => answer.take(written),
                Err(error) => {
                    tracing::debug!(%error, "a question is answered without a model");
                    answer.model = ModelPart::Unavailable { code: error.code(), reason: error.to_string() };
                }
            }
        }
        answer.took = began.elapsed();
        Ok(answer)
    }

    /// Reads a question by the tenant's vocabulary, once more when it turns out to be about the
    /// time since a deploy.
    async fn understand(
        &self,
        scope: &TenantScope,
        request: &AskRequest,
    ) -> Result<(Understood, Filter), FeatureError> {
        let now = Timestamp::now();
        let clock = clock(request.utc_offset.as_deref(), now)?.deployed(request.deployed_at);
        let vocabulary = self.vocabularies.of(&self.retrieval, scope).await?;
        let mut understood = Question::read(&request.question, clock, &vocabulary);
        if understood.wants_deploy && request.deployed_at.is_none() {
            let services = understood.values(Field::Service).map(str::to_owned).collect();
            let deployed_at = lookup::deployed_at(&self.retrieval, scope, services, now).await?;
            understood = Question::read(&request.question, clock.deployed(deployed_at), &vocabulary);
        }
        let filter = understood.filter(&vocabulary);
        Ok((understood, filter))
    }
}

fn clock(utc_offset: Option<&str>, now: Timestamp) -> Result<Clock, FeatureError> {
    let Some(offset) = utc_offset else { return Ok(Clock::utc(now)) };
    Clock::with_offset(now, offset).ok_or_else(|| {
        FeatureError::invalid("utc_offset", "it is no offset from UTC", "write it as +02:00 or Z")
    })
}

/// The passages as the answer, until a model has one.
fn from_passages(understood: Understood, wanted: &Wanted, found: Found) -> AskAnswer {
    let Found { passages, matches, confidence, degraded, is_list } = found;
    let first = passages.first().map(|passage| passage.evidence_id.as_str()).unwrap_or_default();
    let answer = match (is_list, passages.len()) {
        (true, 1) => "one record matches the conditions".to_owned(),
        (true, shown) => format!("the newest {shown} records that match the conditions"),
        (false, 1) => "one passage matches".to_owned(),
        (false, shown) => format!("{shown} passages, best first; {first} matches best"),
    };
    AskAnswer {
        understood,
        filter: wanted.filter.clone(),
        query: if is_list { String::new() } else { wanted.query.clone() },
        answered_by: AnsweredBy::Retrieval,
        answer,
        sentences: Vec::new(),
        matches,
        confidence,
        passages,
        widen: Vec::new(),
        dropped_citations: 0,
        dropped_sentences: 0,
        model: ModelPart::NotAsked,
        degraded,
        took: Duration::ZERO,
    }
}

fn nothing_matches(widen: &[Widening], filter: &Filter) -> String {
    match (widen, filter.is_empty()) {
        ([], true) => "nothing matches".to_owned(),
        ([], false) => "nothing matches, with these conditions or with one less".to_owned(),
        ([first, ..], _) if first.without == "all" => {
            "nothing matches unless all conditions are left out".to_owned()
        }
        ([first, ..], _) => {
            format!("nothing matches; without the condition on {} something does", first.without)
        }
    }
}

impl AskAnswer {
    /// What a model wrote takes the place of the line about the passages.
    fn take(&mut self, written: Written) {
        let Written { sentences, dropped_citations, dropped_sentences, answered, is_small } = written;
        (self.dropped_citations, self.dropped_sentences) = (dropped_citations, dropped_sentences);
        if dropped_citations > 0 {
            tracing::info!(
                dropped_citations,
                dropped_sentences,
                "an answer quoted what is not in the passages"
            );
        }
        if sentences.is_empty() {
            let (served_by, usage) = (answered.served_by, answered.usage);
            self.model = ModelPart::NoAnswer { served_by, usage };
            return;
        }
        let mut degraded = answered.degraded;
        degraded.extend(is_small.then_some("context"));
        self.answered_by = AnsweredBy::Model;
        self.answer = sentences.iter().map(|sentence| sentence.text.trim()).collect::<Vec<_>>().join(" ");
        self.sentences = sentences;
        self.model = ModelPart::Answered {
            served_by: answered.served_by,
            usage: answered.usage,
            usage_estimated: answered.usage_estimated,
            redactions: answered.redactions,
            degraded,
        };
    }
}
