//! What a list of models tells about one of them.

use atlas_domain::Date;
use atlas_llm::{Inspection, ModelFacts};
use serde_json::Value;

use super::dialect::{Dialect, ModelList};

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) inspection: Inspection,
    /// The day the list names as the model's last.
    shutdown_date: Option<Date>,
}

/// Reads `GET models`.
pub(super) fn of_list(list: &Value, model: &str, dialect: &Dialect, has_key: bool) -> Found {
    let entries = list["data"].as_array();
    let entry = entries.and_then(|entries| entries.iter().find(|entry| is_named(entry, model)));
    let proves_key = matches!(dialect.models, ModelList::Keyed | ModelList::Deployable);
    Found {
        inspection: Inspection {
            credentials_checked: proves_key && has_key,
            model_listed: match dialect.models {
                ModelList::Open | ModelList::Keyed => entries.map(|_| entry.is_some()),
                // Another thing than the deployment that was asked for; whatever was asked for.
                ModelList::Deployable | ModelList::Tgi => None,
            },
            context_tokens: entry.and_then(context),
            ..Inspection::default()
        },
        shutdown_date: entry.and_then(|entry| entry["shutdown_date"].as_str()?.parse().ok()),
    }
}

/// Ollama's names end with a tag, and `latest` goes without saying.
fn is_named(entry: &Value, model: &str) -> bool {
    entry["id"].as_str().is_some_and(|id| id == model || id.strip_suffix(":latest") == Some(model))
}

/// The context under the names in use: vLLM, OpenRouter, Groq, Mistral, llama.cpp.
fn context(entry: &Value) -> Option<u64> {
    ["max_model_len", "context_length", "context_window", "max_context_length"]
        .iter()
        .map(|name| &entry[name])
        .chain([&entry["meta"]["n_ctx"]])
        .find_map(Value::as_u64)
}

impl Found {
    /// With TGI's `GET /info`.
    pub(super) fn with_info(mut self, info: &Value) -> Self {
        self.inspection.context_tokens = info["max_total_tokens"].as_u64();
        self
    }

    /// With what should be known about the model, as of `today`.
    pub(super) fn with_warnings(mut self, facts: &ModelFacts, today: Date) -> Inspection {
        // The provider's own word is newer than the file's.
        let shutdown_date = self.shutdown_date.or(facts.shutdown_date);
        let end = ModelFacts { shutdown_date, ..ModelFacts::default() }.retirement(today);
        self.inspection.warnings.extend(end);
        if let (Some(here), Some(whole)) = (self.inspection.context_tokens, facts.context_tokens)
            && here < whole
        {
            let smaller = format!("the server runs the model with {here} of its {whole} tokens of context");
            self.inspection.warnings.push(smaller);
        }
        self.inspection
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::dialect::{AZURE, COMPATIBLE, OPENAI, TGI, VLLM};
    use super::*;
    use crate::fixture_tests as fixtures;

    fn today() -> Date {
        "2026-11-23".parse().expect("a date")
    }

    #[test]
    fn openai_names_the_last_day_of_a_model() {
        let list = fixtures::json("openai/models.response.json");
        let found = of_list(&list, "gpt-4o", &OPENAI, true).with_warnings(&ModelFacts::default(), today());
        assert!(found.credentials_checked);
        assert_eq!(found.model_listed, Some(true));
        assert_eq!(found.warnings, ["the provider turns this model off on 2027-01-14, in 52 days"]);
        let found =
            of_list(&list, "gpt-6-luna", &OPENAI, true).with_warnings(&ModelFacts::default(), today());
        assert_eq!((found.model_listed, found.warnings.len()), (Some(true), 0));
        let facts = ModelFacts { shutdown_date: Some(today()), ..ModelFacts::default() };
        let found = of_list(&list, "gone", &OPENAI, true).with_warnings(&facts, today());
        assert_eq!((found.model_listed, found.warnings.len()), (Some(false), 1));
    }

    #[test]
    fn vllm_names_the_context_it_runs_with() {
        let list = fixtures::json("vllm/models.response.json");
        let facts = ModelFacts { context_tokens: Some(131_072), ..ModelFacts::default() };
        let found = of_list(&list, "Qwen/Qwen3-8B", &VLLM, true).with_warnings(&facts, today());
        assert_eq!((found.model_listed, found.context_tokens), (Some(true), Some(40_960)));
        assert_eq!(found.warnings, ["the server runs the model with 40960 of its 131072 tokens of context"]);
        assert!(!found.credentials_checked, "a server without authentication takes every key");
    }

    #[test]
    fn lists_that_are_about_something_else_say_nothing_about_the_model() {
        let list = json!({ "data": [{ "id": "gpt-4o" }] });
        let azure = of_list(&list, "gpt-4o", &AZURE, true).inspection;
        assert_eq!((azure.model_listed, azure.credentials_checked), (None, true));
        let tgi =
            of_list(&list, "tgi", &TGI, false).with_info(&json!({ "max_total_tokens": 8192 })).inspection;
        assert_eq!((tgi.model_listed, tgi.context_tokens), (None, Some(8192)));
        assert_eq!(of_list(&json!("no list"), "m", &COMPATIBLE, true), Found::default());
        let ollama = json!({ "data": [{ "id": "llama3:latest" }] });
        assert_eq!(of_list(&ollama, "llama3", &COMPATIBLE, false).inspection.model_listed, Some(true));
    }
}
