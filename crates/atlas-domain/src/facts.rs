//! What is known about a model before it is asked.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// How long before its end a model is warned about: time to choose and test another one.
pub const RETIREMENT_HORIZON_DAYS: i32 = 90;

/// What is known about a model: from the data in `models/`, from the operator's own file, or from
/// the server that runs it. Everything may be unknown, and an unknown model is used all the same:
/// facts guide requests and warnings, they are never a gate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFacts {
    /// Tokens of prompt and answer together.
    pub context_tokens: Option<u64>,
    /// Most tokens of an answer.
    pub max_output_tokens: Option<u64>,
    /// Whether it asks for tools.
    pub tools: Option<bool>,
    /// Whether it does so in a stream too (some models on Bedrock do not).
    pub streaming_tools: Option<bool>,
    /// Whether it can be made to ask for a tool.
    pub forced_tool_choice: Option<bool>,
    /// Whether it keeps to a JSON schema by itself.
    pub json_schema: Option<bool>,
    /// Whether system turns are accepted.
    pub system_prompt: Option<bool>,
    /// Whether `temperature` and `top_p` are accepted.
    pub sampling: Option<bool>,
    /// Whether it reasons before it answers.
    pub reasoning: Option<bool>,
    /// The day the provider turns it off.
    pub shutdown_date: Option<Date>,
    /// The earliest day the provider names for that, where it has not decided.
    pub retirement_not_before: Option<Date>,
    /// US dollars per million input tokens, list price.
    pub input_usd_per_mtok: Option<f64>,
    /// US dollars per million input tokens from the provider's cache.
    pub cached_input_usd_per_mtok: Option<f64>,
    /// US dollars per million output tokens.
    pub output_usd_per_mtok: Option<f64>,
}

impl ModelFacts {
    /// What to know about the model's end, as seen from `today`: nothing while it is further away
    /// than [`RETIREMENT_HORIZON_DAYS`].
    pub fn retirement(&self, today: Date) -> Option<String> {
        let days_until = |date| today.until(date).map(|span| span.get_days()).unwrap_or_default();
        let Some(date) = self.shutdown_date else {
            let date = self.retirement_not_before?;
            let is_near = days_until(date) <= RETIREMENT_HORIZON_DAYS;
            return is_near.then(|| format!("the provider may turn this model off from {date} on"));
        };
        let days = days_until(date);
        if days <= 0 {
            Some(format!("the provider turned this model off on {date}"))
        } else if days <= RETIREMENT_HORIZON_DAYS {
            Some(format!("the provider turns this model off on {date}, in {days} days"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_announced_a_quarter_before() {
        let facts =
            ModelFacts { shutdown_date: Some("2026-12-11".parse().expect("a date")), ..Default::default() };
        let on = |today: &str| facts.retirement(today.parse().expect("a date"));
        assert_eq!(on("2026-06-01"), None);
        assert!(on("2026-12-01").expect("soon").contains("in 10 days"));
        assert!(on("2026-12-11").expect("over").contains("turned this model off"));
        assert!(on("2028-01-01").expect("over").contains("turned this model off"));
        let perhaps = ModelFacts { shutdown_date: None, retirement_not_before: facts.shutdown_date, ..facts };
        let on = |today: &str| perhaps.retirement(today.parse().expect("a date"));
        assert_eq!(on("2026-06-01"), None);
        assert!(on("2026-12-01").expect("soon").contains("may turn this model off from 2026-12-11 on"));
        assert_eq!(ModelFacts::default().retirement("2026-12-01".parse().expect("a date")), None);
    }
}
