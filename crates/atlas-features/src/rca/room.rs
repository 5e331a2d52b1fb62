//! How much evidence a model has room for.
//!
//! A small context gets a smaller pack rather than a refusal: the packing puts the most telling
//! items first, so what is left out is what matters least. Where nothing is known about the
//! context, the request's own limit stands, and a refusal halves it.

use atlas_inference::Limits;

/// Room for an answer with three hypotheses and five steps, twice over.
const ANSWER_TOKENS: u64 = 2_000;

/// The schema, and what a provider puts around a prompt.
const WRAPPING_TOKENS: u64 = 300;

/// Below this an analysis has no evidence worth the name; the model's context is too small. Low,
/// because tokens are estimated: a model without sub-words has one for every character.
pub(crate) const LEAST_EVIDENCE_TOKENS: usize = 150;

/// The shares of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) evidence_tokens: usize,
    pub(crate) answer_tokens: u32,
    /// The context is the reason for less evidence than was wanted.
    pub(crate) is_small: bool,
}

/// Shares out a context. `frame_tokens` are those of the prompt without evidence.
pub(crate) fn share(limits: Option<Limits>, frame_tokens: usize, wanted_tokens: usize) -> Room {
    let limits = limits.as_ref();
    let (context, most_output) =
        (limits.and_then(|limits| limits.context_tokens), limits.and_then(|limits| limits.max_output_tokens));
    let answer =
        ANSWER_TOKENS.min(most_output.unwrap_or(u64::MAX)).min(context.map_or(u64::MAX, |all| all / 3));
    let left = context.map(|all| all.saturating_sub(answer + WRAPPING_TOKENS + frame_tokens as u64));
    // Four characters are a token of English; identifiers and numbers are made of shorter ones.
    let fits = left.map_or(usize::MAX, |left| usize::try_from(left / 4 * 3).unwrap_or(usize::MAX));
    Room {
        evidence_tokens: wanted_tokens.min(fits.max(LEAST_EVIDENCE_TOKENS)),
        answer_tokens: u32::try_from(answer).unwrap_or(u32::MAX),
        is_small: fits < wanted_tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(context: Option<u64>, most_output: Option<u64>, expect: (usize, u32, bool)) {
        let limits = Limits {
            context_tokens: context,
            max_output_tokens: most_output,
            tools: true,
            json_schema: true,
        };
        let Room { evidence_tokens, answer_tokens, is_small } = share(Some(limits), 700, 6_000);
        assert_eq!((evidence_tokens, answer_tokens, is_small), expect);
    }

    #[test]
    fn evidence_gets_what_the_context_leaves() {
        check(None, None, (6_000, 2_000, false));
        check(Some(128_000), None, (6_000, 2_000, false));
        check(Some(8_192), None, (3_894, 2_000, true));
        check(Some(4_096), None, (1_296, 1_365, true));
        check(Some(1_024), None, (150, 341, true));
        check(None, Some(1_000), (6_000, 1_000, false));
    }

    #[test]
    fn without_limits_the_request_decides() {
        let room = share(None, 700, 6_000);
        assert_eq!(room, Room { evidence_tokens: 6_000, answer_tokens: 2_000, is_small: false });
    }
}
