//! What of the evidence is shown: a budget, shared fairly between the kinds.

use atlas_domain::RecordKey;
use serde::Serialize;

use super::RcaProgress;
use super::evidence::{Candidate, Evidence, EvidenceKind};

/// Characters per token: a cautious estimate for English, logs and identifiers. The real count
/// depends on the model, which is not known here.
const CHARACTERS_PER_TOKEN: usize = 4;

/// Tokens of the fence around an item.
pub(crate) const FENCE_TOKENS: usize = 24;

/// An item that was found and not shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Omitted {
    /// What it is.
    pub kind: EvidenceKind,
    /// Where it is kept.
    pub key: RecordKey,
    /// One line.
    pub title: String,
    /// Why.
    pub reason: &'static str,
}

/// What is shown, and what is not.
#[derive(Debug, Default)]
pub(super) struct Pack {
    /// By kind, then best first.
    pub(super) evidence: Vec<Evidence>,
    pub(super) omitted: Vec<Omitted>,
}

impl Pack {
    pub(super) fn progress(&self) -> RcaProgress {
        let count = |kind| self.evidence.iter().filter(|item| item.kind == kind).count();
        RcaProgress::Evidence {
            alerts: count(EvidenceKind::Alert),
            logs: count(EvidenceKind::Log),
            incidents: count(EvidenceKind::Incident),
            runbooks: count(EvidenceKind::Runbook),
            omitted: self.omitted.len(),
        }
    }
}

pub(crate) fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(CHARACTERS_PER_TOKEN)
}

/// The best of each kind, then the second of each, until the budget is spent: a storm of alerts
/// must not push out the one past incident that explains it. An item that does not fit is left
/// out, and a smaller one after it may still fit.
pub(super) fn pack(candidates: Vec<Candidate>, budget_tokens: usize) -> Pack {
    let mut ranked: Vec<(usize, Candidate)> = Vec::with_capacity(candidates.len());
    let mut seen = [0usize; EvidenceKind::ALL.len()];
    for candidate in candidates {
        let rank = &mut seen[position(candidate.kind)];
        ranked.push((*rank, candidate));
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, candidate)| (*rank, position(candidate.kind)));

    let mut left = budget_tokens;
    let (mut shown, mut pack) = (Vec::new(), Pack::default());
    for (_, candidate) in ranked {
        let cost = tokens(&candidate.text) + FENCE_TOKENS;
        let Candidate { kind, key, title, text, facts } = candidate;
        if cost <= left {
            left -= cost;
            shown.push((kind, key, title, text, facts));
        } else {
            pack.omitted.push(Omitted { kind, key, title, reason: "over the evidence budget" });
        }
    }
    for kind in EvidenceKind::ALL {
        let of_kind = shown.iter().filter(|(shown, ..)| *shown == kind);
        pack.evidence.extend(of_kind.zip(1..).map(|((_, key, title, text, facts), number)| Evidence {
            id: format!("{}{number}", kind.letter()),
            kind,
            key: key.clone(),
            title: title.clone(),
            text: text.clone(),
            facts: facts.clone(),
        }));
    }
    pack
}

fn position(kind: EvidenceKind) -> usize {
    EvidenceKind::ALL.iter().position(|known| *known == kind).expect("ALL holds every kind")
}
