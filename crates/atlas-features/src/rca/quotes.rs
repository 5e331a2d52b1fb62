//! Looking up every quotation.
//!
//! A quotation counts if its evidence was shown and its words stand there in this order, with
//! nothing between them. White space is made single on both sides, for models wrap lines. The
//! model has seen secrets as `[REDACTED:kind]`, so that marker stands for a short gap.

use super::answer::{Citation, ModelAnswer, Verdict};
use super::evidence::Evidence;
use super::plain::free_text;

/// Fewer characters prove nothing: `error` stands in every log.
const QUOTE_CHARACTERS: usize = 8;

/// Longest text that a removed secret may have stood for. A private key is longer, and not a
/// thing to rest a claim on.
const SECRET_BYTES: usize = 256;

/// Most that is kept, most likely first; a model is asked for 3 and 5.
const HYPOTHESES: usize = 5;
const STEPS: usize = 8;
const CITATIONS: usize = 8;

/// What is said in place of a summary that nothing supports.
const UNSUPPORTED: &str =
    "No claim of the analysis is supported by the evidence that was shown, so nothing is concluded.";

/// An answer whose claims all have quotations that were found.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) answer: ModelAnswer,
    pub(super) dropped_citations: usize,
    pub(super) dropped_claims: usize,
}

pub(super) fn check(mut answer: ModelAnswer, evidence: &[Evidence]) -> Checked {
    let (mut dropped_citations, mut dropped_claims) = (0, 0);
    let had_hypotheses = !answer.hypotheses.is_empty();
    let mut stands = |citations: &mut Vec<Citation>| {
        dropped_citations += keep_true(citations, |id| text_of(id, evidence));
        let stands = !citations.is_empty();
        dropped_claims += usize::from(!stands);
        stands
    };
    answer.hypotheses.retain_mut(|hypothesis| stands(&mut hypothesis.citations));
    answer.next_steps.retain_mut(|step| stands(&mut step.citations));
    answer.hypotheses.truncate(HYPOTHESES);
    answer.next_steps.truncate(STEPS);
    if answer.hypotheses.is_empty() {
        // A model that says itself that it found nothing may say what is missing.
        if had_hypotheses || answer.verdict != Verdict::Inconclusive {
            answer.summary = UNSUPPORTED.to_owned();
        }
        answer.verdict = Verdict::Inconclusive;
    }
    let shown: Vec<&str> = evidence.iter().map(|item| item.text.as_str()).collect();
    let texts = answer.hypotheses.iter_mut().map(|hypothesis| &mut hypothesis.cause);
    let texts = texts.chain(answer.next_steps.iter_mut().map(|step| &mut step.action));
    texts.chain([&mut answer.summary]).for_each(|text| *text = free_text(text, &shown));
    Checked { answer, dropped_citations, dropped_claims }
}

/// What is wrong with an answer, in words the model can act on. Empty: nothing.
pub(super) fn complaints(answer: &ModelAnswer, evidence: &[Evidence]) -> Vec<String> {
    let hypotheses = answer.hypotheses.iter().flat_map(|hypothesis| &hypothesis.citations);
    let citations = hypotheses.chain(answer.next_steps.iter().flat_map(|step| &step.citations));
    let mut complaints = Vec::new();
    for citation in citations.filter(|citation| !holds(citation, |id| text_of(id, evidence))) {
        let id: String = citation.evidence_id.chars().take(20).collect();
        let complaint = match evidence.iter().any(|item| item.id == citation.evidence_id) {
            false => format!("there is no evidence {id:?}"),
            true => format!("a quote of {id} is not in it word for word"),
        };
        if !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }
    complaints
}

fn text_of<'a>(id: &str, evidence: &'a [Evidence]) -> Option<&'a str> {
    evidence.iter().find(|item| item.id == id).map(|item| item.text.as_str())
}

/// Keeps the quotations of one claim that stand in the text of their id, in single spacing and not
/// more of them than a reader looks up. Returns how many do not stand there.
pub(crate) fn keep_true<'a>(
    citations: &mut Vec<Citation>,
    text_of: impl Fn(&str) -> Option<&'a str>,
) -> usize {
    let before = citations.len();
    citations.retain(|citation| holds(citation, &text_of));
    let dropped = before - citations.len();
    citations.truncate(CITATIONS);
    citations.iter_mut().for_each(|citation| citation.quote = single_spaced(&citation.quote));
    dropped
}

fn holds<'a>(citation: &Citation, text_of: impl Fn(&str) -> Option<&'a str>) -> bool {
    text_of(&citation.evidence_id).is_some_and(|text| occurs(&citation.quote, text))
}

/// Whether a quotation stands in a text.
pub(super) fn occurs(quote: &str, text: &str) -> bool {
    let text = single_spaced(text);
    let quote = single_spaced(quote);
    let bare = quote.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '“' | '”'));
    [quote.as_str(), bare].iter().any(|quote| {
        let parts = parts(quote);
        let proves =
            parts.iter().map(|part| part.chars().filter(|c| c.is_alphanumeric()).count()).sum::<usize>();
        proves >= QUOTE_CHARACTERS.min(proves_in(&text)) && proves > 0 && in_order(&parts, &text)
    })
}

/// A text that is shorter than the limit may be quoted whole.
fn proves_in(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The pieces between markers of removed secrets.
fn parts(quote: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = quote;
    while let Some(start) = rest.find("[REDACTED:") {
        let Some(length) = rest[start..].find(']') else { break };
        // The kind is a word of ours. Anything else in its place is text that a model smuggles in.
        let kind = &rest[start + "[REDACTED:".len()..start + length];
        if kind.len() > 40 || !kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            break;
        }
        parts.push(&rest[..start]);
        rest = &rest[start + length + 1..];
    }
    parts.push(rest);
    parts
}

/// Every place of the first part is tried: the gap after an earlier one may be too wide.
fn in_order(parts: &[&str], text: &str) -> bool {
    let Some((first, others)) = parts.split_first() else { return true };
    text.match_indices(first).any(|(at, _)| {
        let mut end = at + first.len();
        others.iter().all(|part| match text[end..].find(part) {
            // A secret holds no white space, so a gap over several words is a stitched quotation.
            Some(gap) if gap <= SECRET_BYTES && !text[end..end + gap].trim().contains(' ') => {
                end += gap + part.len();
                true
            }
            _ => false,
        })
    })
}
