//! Answers of a given shape.
//!
//! A provider that promises a schema may still cut the answer at the token limit, and one that
//! promises nothing often answers well but wraps it in prose. So every answer is parsed and
//! validated here, and a bad one gets one turn to be repaired, with the list of problems.

use std::time::Duration;

use atlas_llm::{Finish, Message};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::error::InferenceError;
use crate::inference::Inference;
use crate::job::{Answered, Job};

/// Most of a bad answer that is shown to the model again.
const QUOTE_LIMIT: usize = 16_000;
/// Most problems that are listed; the first ones usually cause the rest.
const MOST_PROBLEMS: usize = 20;

impl Inference {
    /// Answers a job with JSON that `validate` accepts. The accounting covers both turns where
    /// two were needed.
    pub async fn complete_json<T: DeserializeOwned>(
        &self,
        job: Job,
        validate: impl Fn(&T) -> Result<(), Vec<String>>,
    ) -> Result<(T, Answered), InferenceError> {
        let started = Instant::now();
        let (feature, deadline, model) = (job.feature, job.deadline, job.model.clone());
        let mut request = job.request.clone();
        let first = self.complete(job).await?;
        let mut problems = match read(&first, &validate) {
            Ok(value) => return Ok((value, first)),
            Err(problems) => problems,
        };
        // A model that declined will not be argued out of it.
        if matches!(first.finish, Finish::Refusal | Finish::ContentFilter) {
            return Err(InferenceError::Unusable { problems });
        }
        problems.truncate(MOST_PROBLEMS);
        let quote: String = first.text.chars().take(QUOTE_LIMIT).collect();
        request.messages.push(Message::assistant(quote));
        request.messages.push(Message::user(repair_prompt(&problems)));
        let time_left = deadline.saturating_sub(started.elapsed());
        let second =
            self.complete(Job { feature, request, model, deadline: time_left, on_text: None }).await?;
        match read(&second, &validate) {
            Ok(value) => Ok((value, both(&first, second, started.elapsed()))),
            Err(problems) => Err(InferenceError::Unusable { problems }),
        }
    }
}

fn repair_prompt(problems: &[String]) -> String {
    format!(
        "Your answer cannot be used:\n- {}\nAnswer again with the corrected JSON object and nothing else.",
        problems.join("\n- "),
    )
}

fn read<T: DeserializeOwned>(
    answered: &Answered,
    validate: &impl Fn(&T) -> Result<(), Vec<String>>,
) -> Result<T, Vec<String>> {
    let result = match outermost_object(&answered.text) {
        None => Err(vec!["there is no JSON object in it".to_owned()]),
        Some(json) => serde_json::from_str(json).map_err(|error| vec![error.to_string()]),
    };
    let result = result.and_then(|value| validate(&value).map(|()| value));
    result.map_err(|mut problems| {
        match answered.finish {
            Finish::Length => problems.insert(0, "it was cut at the token limit; be shorter".to_owned()),
            Finish::Refusal => problems.insert(0, "the model declined".to_owned()),
            Finish::ContentFilter => problems.insert(0, "the provider's content filter cut it".to_owned()),
            Finish::Stop | Finish::ToolCalls | Finish::Other(_) => {}
        }
        problems
    })
}

/// From the first `{` to the `}` that closes it, so that code fences and prose around it do no
/// harm. Braces inside of strings do not count. An object that never closes is not one.
pub(crate) fn outermost_object(text: &str) -> Option<&str> {
    let text = &text[text.find('{')?..];
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some(&text[..=at]);
                }
            }
            _ => {}
        }
    }
    None
}

fn both(first: &Answered, second: Answered, latency: Duration) -> Answered {
    let mut sum = second;
    sum.usage.input += first.usage.input;
    sum.usage.output += first.usage.output;
    sum.usage.cached_input += first.usage.cached_input;
    sum.usage.cache_write += first.usage.cache_write;
    sum.usage.reasoning += first.usage.reasoning;
    sum.usage_estimated |= first.usage_estimated;
    sum.redactions += first.redactions;
    sum.latency = latency;
    sum
}

#[cfg(test)]
mod tests {
    use super::outermost_object;

    #[test]
    fn the_object_is_found_in_whatever_surrounds_it() {
        for (text, expect) in [
            (r#"{"a":1}"#, Some(r#"{"a":1}"#)),
            ("```json\n{\"a\":{}}\n```", Some("{\"a\":{}}")),
            ("Sure! {\"a\":1} Anything else, {name}?", Some("{\"a\":1}")),
            (r#"{"a":"}\"{"}x"#, Some(r#"{"a":"}\"{"}"#)),
            (r#"{"ž":"}🦀"}"#, Some(r#"{"ž":"}🦀"}"#)),
            (r#"{"a":1"#, None),
            ("no object", None),
            ("", None),
            ("}{", None),
        ] {
            assert_eq!(outermost_object(text), expect, "{text}");
        }
    }
}
