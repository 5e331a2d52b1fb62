//! What a client asks, read from OpenAI's Chat Completions request.
//!
//! Members that nobody knows are ignored, as every compatible server does: clients send what
//! their own vendor added last week. The known ones that would change the answer and cannot be
//! honoured are refused, because an answer that silently lacks what was asked for is worse than
//! none. Known and without effect on the answer, so ignored: `user`, `metadata`, `store`,
//! `service_tier`, `prompt_cache_key`, `safety_identifier`, `prediction`, `verbosity` and
//! `reasoning_effort`, which the operator's settings decide.

use atlas_llm::{ChatRequest, JsonSchema, Output};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::messages::{self, Turn};
use super::refusal::{missing, unsupported, wrong};
use super::tools::{self, WireChoice, WireTool};
use crate::problem::Problem;

/// The most texts at which to stop.
const MOST_STOPS: usize = 4;

/// The body of `POST /v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub(super) struct ChatBody {
    model: Option<String>,
    messages: Option<Vec<Turn>>,
    tools: Option<Vec<WireTool>>,
    tool_choice: Option<WireChoice>,
    parallel_tool_calls: Option<bool>,
    response_format: Option<Format>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    stop: Option<Stop>,
    seed: Option<i64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    // Known, and refused where they are more than their default.
    n: Option<u32>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
    logit_bias: Option<Map<String, Value>>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    modalities: Option<Vec<String>>,
    audio: Option<IgnoredAny>,
    functions: Option<IgnoredAny>,
    function_call: Option<IgnoredAny>,
    web_search_options: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
    json_schema: Option<Shape>,
}

#[derive(Debug, Deserialize)]
struct Shape {
    name: Option<String>,
    schema: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// A question that can be asked.
#[derive(Debug)]
pub(super) struct Asked {
    /// The model by name; `None` is the operator's default.
    pub(super) model: Option<String>,
    /// What is asked of it.
    pub(super) request: ChatRequest,
    /// Whether the answer is streamed.
    pub(super) stream: bool,
    /// Whether the stream ends with the tokens it took.
    pub(super) include_usage: bool,
}

impl ChatBody {
    /// Checks everything that can be checked without a model.
    pub(super) fn read(self) -> Result<Asked, Problem> {
        self.refuse_unsupported()?;
        let stream = self.stream.unwrap_or_default();
        if self.stream_options.is_some() && !stream {
            return Err(wrong("stream_options", "it is for requests with `stream: true`"));
        }
        let include_usage = self.stream_options.and_then(|options| options.include_usage).unwrap_or_default();
        let tools = tools::tools(self.tools.unwrap_or_default())?;
        let tool_choice = tools::choice(self.tool_choice, &tools)?;
        let turns = self.messages.ok_or_else(|| missing("messages"))?;
        let limit = self.max_completion_tokens.map(|limit| ("max_completion_tokens", limit));
        let limit = limit.or(self.max_tokens.map(|limit| ("max_tokens", limit)));
        if let Some((name, 0)) = limit {
            return Err(wrong(name, "it is not 1 or more"));
        }
        let seed = self.seed.map(u64::try_from).transpose();
        let request = ChatRequest {
            messages: messages::conversation(turns)?,
            // Without tools some providers refuse what is about them.
            parallel_tool_calls: self.parallel_tool_calls.filter(|_| !tools.is_empty()),
            tools,
            tool_choice,
            output: output(self.response_format)?,
            max_output_tokens: limit.map(|(_, limit)| limit),
            temperature: within("temperature", self.temperature, 2.0)?,
            top_p: within("top_p", self.top_p, 1.0)?,
            stop: stops(self.stop)?,
            seed: seed.map_err(|_| wrong("seed", "it is negative"))?,
        };
        Ok(Asked { model: named(self.model), request, stream, include_usage })
    }

    fn refuse_unsupported(&self) -> Result<(), Problem> {
        let beyond_text =
            self.modalities.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| kind != "text"));
        let is_set = |penalty: Option<f32>| penalty.is_some_and(|penalty| penalty != 0.0);
        let refused = [
            ("n", self.n.is_some_and(|n| n != 1), "one answer per request: send it several times"),
            ("logprobs", self.logprobs == Some(true), "token probabilities are not available"),
            (
                "top_logprobs",
                self.top_logprobs.is_some_and(|n| n > 0),
                "token probabilities are not available",
            ),
            ("logit_bias", self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()), "leave it out"),
            ("presence_penalty", is_set(self.presence_penalty), "leave it out"),
            ("frequency_penalty", is_set(self.frequency_penalty), "leave it out"),
            ("modalities", beyond_text, "answers are text"),
            ("audio", self.audio.is_some(), "answers are text"),
            ("functions", self.functions.is_some(), "send `tools`"),
            ("function_call", self.function_call.is_some(), "send `tool_choice`"),
            ("web_search_options", self.web_search_options.is_some(), "nothing is searched on the web"),
        ];
        match refused.into_iter().find(|(_, refused, _)| *refused) {
            Some((name, _, instead)) => Err(unsupported(name, instead)),
            None => Ok(()),
        }
    }
}

/// The name of a model, where it is one: nothing and `default` leave the choice to the operator.
pub(super) fn named(model: Option<String>) -> Option<String> {
    model.filter(|model| !model.is_empty() && model != "default")
}

fn output(format: Option<Format>) -> Result<Output, Problem> {
    let Some(format) = format else { return Ok(Output::Text) };
    match format.kind.as_str() {
        "text" => Ok(Output::Text),
        "json_object" => Ok(Output::Json),
        "json_schema" => {
            let shape = format.json_schema.ok_or_else(|| missing("response_format.json_schema"))?;
            let name = shape.name.ok_or_else(|| missing("response_format.json_schema.name"))?;
            tools::check_name("response_format.json_schema.name", &name)?;
            let schema = shape.schema.ok_or_else(|| missing("response_format.json_schema.schema"))?;
            if !schema.is_object() {
                return Err(wrong("response_format.json_schema.schema", "it is not an object"));
            }
            Ok(Output::Schema(JsonSchema { name: name.into(), schema }))
        }
        _ => Err(wrong("response_format.type", "it is not text, json_object or json_schema")),
    }
}

fn stops(stop: Option<Stop>) -> Result<Vec<String>, Problem> {
    let stops = match stop {
        None => return Ok(Vec::new()),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    if stops.len() > MOST_STOPS {
        return Err(wrong("stop", "it holds more than 4 texts"));
    }
    if stops.iter().any(String::is_empty) {
        return Err(wrong("stop", "it holds an empty text"));
    }
    Ok(stops)
}

fn within(name: &'static str, value: Option<f32>, most: f32) -> Result<Option<f32>, Problem> {
    match value {
        Some(value) if !(0.0..=most).contains(&value) => {
            Err(wrong(name, &format!("it is not between 0 and {most}")))
        }
        value => Ok(value),
    }
}
