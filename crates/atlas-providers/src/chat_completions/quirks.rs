//! What a server turned out to refuse.
//!
//! A server that refuses a part of a request names it. The request is then asked again without
//! that part, or in other words, and what led to an answer is remembered for the model's further
//! requests.

use atlas_llm::{ChatRequest, ModelFacts, Output, ProviderErrorKind, ToolChoice};
use atlas_vendor::{Refusal, ToolsOnChat};

use super::dialect::Dialect;
use crate::ApiChoice;

/// How an answer's shape is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `response_format` with the schema.
    Schema,
    /// The schema in the server's own words.
    Grammar,
    /// `response_format: json_object`, and the schema in the prompt.
    Object,
    /// The schema in the prompt only.
    Prompt,
}

/// What a model is sent and what not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quirks {
    /// Through the Responses API.
    pub(crate) responses: bool,
    pub(crate) stream_usage: bool,
    pub(crate) sampling: bool,
    pub(crate) stop: bool,
    pub(crate) completion_limit: bool,
    pub(crate) shape: Shape,
    pub(crate) json_object: bool,
    pub(crate) strict_tools: bool,
    pub(crate) parallel_tool_calls: bool,
    pub(crate) forced_tools: bool,
    /// `reasoning_effort: "none"` beside tools.
    pub(crate) effort_none: bool,
    pub(crate) developer_role: bool,
    /// No system turns, and no two turns of the caller in a row: some chat templates know no more.
    pub(crate) plain_turns: bool,
    /// Call ids of nine letters and digits (Mistral).
    pub(crate) short_ids: bool,
}

/// A next attempt.
#[derive(Debug)]
pub(crate) struct Adapted {
    pub(crate) quirks: Quirks,
    pub(crate) what: &'static str,
    /// Whether later requests are better off with it too.
    pub(crate) remember: bool,
}

impl Quirks {
    /// Before anything was learnt: what the dialect is, and what is known about the model.
    pub(crate) fn new(
        dialect: &Dialect,
        api: ApiChoice,
        model: &str,
        facts: &ModelFacts,
        tools: Option<ToolsOnChat>,
    ) -> Self {
        let reasons = facts.reasoning == Some(true);
        Self {
            responses: match api {
                ApiChoice::Auto => {
                    dialect.responses && dialect.reasoning_effort && wants_responses(model, tools)
                }
                ApiChoice::Chat => false,
                ApiChoice::Responses => true,
            },
            stream_usage: true,
            sampling: facts.sampling != Some(false),
            stop: !(dialect.reasoning_effort && reasons),
            completion_limit: dialect.completion_limit,
            shape: if facts.json_schema == Some(false) { Shape::Object } else { Shape::Schema },
            json_object: true,
            strict_tools: dialect.strict_tools,
            parallel_tool_calls: dialect.parallel_tool_calls,
            forced_tools: facts.forced_tool_choice != Some(false),
            effort_none: dialect.reasoning_effort && tools == Some(ToolsOnChat::EffortNoneOnly),
            developer_role: dialect.developer_role && reasons,
            plain_turns: facts.system_prompt == Some(false),
            short_ids: false,
        }
    }

    /// How the form of this answer is asked for; `None` for prose.
    pub(crate) fn shape_of(&self, dialect: &Dialect, request: &ChatRequest) -> Option<Shape> {
        let shape = match request.output {
            Output::Text => return None,
            Output::Schema(_) => self.shape,
            Output::Json => Shape::Object,
        };
        Some(match shape {
            _ if !dialect.tools_with_form && !request.tools.is_empty() => Shape::Prompt,
            Shape::Object if !self.json_object => Shape::Prompt,
            shape => shape,
        })
    }

    /// Leaves out what the refusal names, if it names something that was sent.
    pub(crate) fn adapt(
        self,
        dialect: &Dialect,
        api: ApiChoice,
        request: &ChatRequest,
        refusal: &Refusal,
    ) -> Option<Adapted> {
        let (kind, status) = (refusal.error.kind(), refusal.error.status());
        if kind != ProviderErrorKind::BadRequest || !matches!(status, Some(400 | 422)) {
            return None;
        }
        let names = |words: &[&str]| words.iter().any(|word| refusal.names(word));
        let has_sampling = request.temperature.is_some() || request.top_p.is_some();
        let has_limit = request.max_output_tokens.is_some();
        let has_tools = !request.tools.is_empty();
        let adapted = |quirks, what| Some(Adapted { quirks, what, remember: true });
        if self.sampling && has_sampling && names(&["temperature", "top_p"]) {
            adapted(Self { sampling: false, ..self }, "temperature and top_p")
        } else if self.responses {
            // OpenAI alone has that API, so there is nothing else to find out.
            None
        } else if has_tools && names(&["function tools with reasoning_effort are not supported"]) {
            if dialect.responses && api == ApiChoice::Auto {
                adapted(Self { responses: true, ..self }, "chat completions with tools")
            } else if !self.effort_none {
                adapted(Self { effort_none: true, ..self }, "reasoning with tools")
            } else {
                None
            }
        } else if self.stream_usage && names(&["stream_options"]) {
            adapted(Self { stream_usage: false, ..self }, "stream_options")
        } else if has_limit && names(&["max_completion_tokens"]) && !names(&["too large"]) {
            // A refusal of `max_tokens` names the replacement.
            let completion_limit = !self.completion_limit;
            adapted(Self { completion_limit, ..self }, "the name of the token limit")
        } else if has_tools && self.parallel_tool_calls && names(&["parallel_tool_calls"]) {
            adapted(Self { parallel_tool_calls: false, ..self }, "parallel_tool_calls")
        } else if has_tools
            && self.forced_tools
            && matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_))
            && names(&["tool_choice"])
        {
            adapted(Self { forced_tools: false, ..self }, "tool_choice")
        } else if self.stop && !request.stop.is_empty() && names(&["'stop'", "`stop`", "\"stop\""]) {
            adapted(Self { stop: false, ..self }, "stop")
        } else if names(&[
            "response_format",
            "json_schema",
            "json_object",
            "json schema",
            "structured_outputs",
        ]) {
            self.with_next_shape(dialect, request, refusal)
        } else if self.strict_tools && names(&["invalid schema for function"]) {
            // This tool's schema is beyond the strict subset; the next tool's may not be.
            let quirks = Self { strict_tools: false, ..self };
            Some(Adapted { quirks, what: "strict tools", remember: false })
        } else if self.strict_tools && request.tools.iter().any(|tool| tool.strict) && names(&["strict"]) {
            adapted(Self { strict_tools: false, ..self }, "strict tools")
        } else if !self.plain_turns && names(&["system role", "system message", "roles must alternate"]) {
            adapted(Self { plain_turns: true, ..self }, "system turns")
        } else if !self.short_ids && names(&["tool call id", "tool_call_id"]) {
            adapted(Self { short_ids: true, ..self }, "call ids")
        } else {
            None
        }
    }

    fn with_next_shape(self, dialect: &Dialect, request: &ChatRequest, refusal: &Refusal) -> Option<Adapted> {
        let shape = match self.shape_of(dialect, request)? {
            Shape::Schema if dialect.grammar.is_some() => Shape::Grammar,
            Shape::Schema | Shape::Grammar => Shape::Object,
            Shape::Object => Shape::Prompt,
            Shape::Prompt => return None,
        };
        // What is known about schemas is not changed by the refusal of an object without one.
        let quirks = match request.output {
            Output::Schema(_) => Self { shape, ..self },
            Output::Json | Output::Text => Self { json_object: false, ..self },
        };
        // One schema that the server dislikes says nothing about the next one.
        let remember = !refusal.names("invalid schema") && !refusal.names("schema contains");
        Some(Adapted { quirks, what: "response_format", remember })
    }
}

/// Whether OpenAI wants tools for this model through Responses: as the facts say, else from
/// gpt-5.4 on.
fn wants_responses(model: &str, tools: Option<ToolsOnChat>) -> bool {
    match tools {
        Some(ToolsOnChat::Yes) => false,
        Some(ToolsOnChat::EffortAbsentOrNone | ToolsOnChat::EffortNoneOnly | ToolsOnChat::No) => true,
        Some(ToolsOnChat::Unknown) | None => version(model).is_some_and(|version| version >= (5, 4)),
    }
}

/// The version in ids such as `gpt-5.4-mini` and `gpt-6-sol`; none in `gpt-4o`.
fn version(model: &str) -> Option<(u32, u32)> {
    let rest = model.trim().strip_prefix("gpt-")?;
    let number = rest.split('-').next()?;
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    // Azure's name for gpt-3.5 is gpt-35.
    Some((major.parse().ok().filter(|major| *major < 30)?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_where_an_id_has_one() {
        for (model, expect) in [
            ("gpt-5.4", Some((5, 4))),
            ("gpt-5.4-mini-2026-03-05", Some((5, 4))),
            ("gpt-6-sol", Some((6, 0))),
            ("gpt-5.10", Some((5, 10))),
            ("gpt-4o", None),
            ("gpt-4.1-mini", Some((4, 1))),
            ("gpt-35-turbo", None),
            ("gpt-oss-20b", None),
            ("o3", None),
            ("gpt-", None),
            ("my-gpt-6", None),
        ] {
            assert_eq!(version(model), expect, "{model}");
        }
    }

    #[test]
    fn facts_about_a_model_win_over_its_number() {
        assert!(wants_responses("gpt-7", None));
        assert!(wants_responses("gpt-6.2-sol", Some(ToolsOnChat::Unknown)));
        assert!(!wants_responses("gpt-7", Some(ToolsOnChat::Yes)));
        assert!(wants_responses("astra", Some(ToolsOnChat::No)));
        assert!(!wants_responses("gpt-5.2", None));
    }
}
