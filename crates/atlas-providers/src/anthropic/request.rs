//! Our request as a body of the Messages API.

use atlas_llm::{ChatRequest, JsonSchema, ModelFacts, Output, Tool, ToolChoice};
use atlas_vendor::Refusal;
use serde_json::{Value, json};

use super::schema::portable;
use super::turns::turns;
use crate::request::decimal;

/// The tool whose arguments are the answer, where no other way leads to JSON.
pub(super) const ANSWER_TOOL: &str = "answer";
/// Some answer length must be sent; every model that was ever served allows this one.
const LEAST_KNOWN_LIMIT: u64 = 4096;

/// How an answer's shape is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `output_config.format`.
    Format,
    /// One forced tool.
    Tool,
    /// An instruction.
    Prompt,
}

/// What a model is sent and what not. It only ever loses something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) shape: Shape,
    /// `tool_choice` may be `any` or `tool`. Models that think whether asked to or not refuse.
    pub(super) forced: bool,
    /// `strict` tools are known.
    pub(super) strict: bool,
    /// `temperature` or `top_p` may be sent.
    pub(super) sampling: bool,
}

/// A request as it goes out.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) body: Value,
    /// The answer comes as the arguments of [`ANSWER_TOOL`].
    pub(super) answers_by_tool: bool,
}

impl Form {
    /// What the facts leave; a model without facts is taken for a new one.
    pub(super) fn first(facts: &ModelFacts) -> Self {
        let forced = facts.forced_tool_choice != Some(false);
        let strict = facts.json_schema != Some(false);
        let shape = if strict { Shape::Format } else { Self::without_format(forced) };
        Self { shape, forced, strict, sampling: facts.sampling != Some(false) }
    }

    fn without_format(forced: bool) -> Shape {
        if forced { Shape::Tool } else { Shape::Prompt }
    }

    /// Leaves out what the refusal names, if it names something that was sent.
    pub(super) fn adapt(self, asked: &Asked, refusal: &Refusal) -> Option<Self> {
        let body = &asked.body;
        let names = |words: &[&str]| words.iter().any(|word| refusal.names(word));
        let is_forced = matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool"));
        let has_strict =
            body["tools"].as_array().is_some_and(|tools| tools.iter().any(|tool| tool["strict"] == true));
        if !matches!(refusal.error.status(), Some(400 | 422)) {
            None
        } else if body.get("output_config").is_some()
            && names(&["output_config", "output format", "structured output"])
        {
            Some(Self { shape: Self::without_format(self.forced), ..self })
        } else if is_forced && names(&["tool_choice", "forces tool use"]) {
            let shape = if self.shape == Shape::Tool { Shape::Prompt } else { self.shape };
            Some(Self { forced: false, shape, ..self })
        } else if has_strict && names(&["strict"]) {
            Some(Self { strict: false, ..self })
        } else if names(&["temperature", "top_p"])
            && (body.get("temperature").is_some() || body.get("top_p").is_some())
        {
            Some(Self { sampling: false, ..self })
        } else {
            None
        }
    }
}

/// The body of a request in this form.
pub(super) fn ask(model: &str, request: &ChatRequest, facts: &ModelFacts, form: Form) -> Asked {
    let (mut system, mut messages) = turns(&request.messages);
    let mut body = json!({ "model": model, "max_tokens": limit(request, facts), "stream": true });
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(|tool| self::tool(tool, form.strict)).collect();
        let (choice, instruction) = tool_choice(request, form.forced);
        if let Some(choice) = choice {
            body["tool_choice"] = choice;
        }
        system.extend(instruction);
    }
    let mut answers_by_tool = false;
    match &request.output {
        Output::Text => {}
        Output::Json => {
            system.push("Answer with one JSON object and nothing else: no prose, no code fence.".to_owned())
        }
        Output::Schema(schema) => match form.shape {
            Shape::Format => {
                let format = json!({ "type": "json_schema", "schema": portable(&schema.schema) });
                body["output_config"] = json!({ "format": format });
            }
            // A forced tool would take the place of the caller's own.
            Shape::Tool if request.tools.is_empty() => {
                body["tools"] = json!([answer_tool(schema, form.strict)]);
                body["tool_choice"] = json!({ "type": "tool", "name": ANSWER_TOOL });
                answers_by_tool = true;
            }
            Shape::Tool | Shape::Prompt => system.push(instruction(schema)),
        },
    }
    if form.sampling {
        sampling(request, &mut body);
    }
    // One of only white space is refused.
    let stop: Vec<_> = request.stop.iter().filter(|text| !text.trim().is_empty()).collect();
    if !stop.is_empty() {
        body["stop_sequences"] = json!(stop);
    }
    let system = system.join("\n\n");
    if messages.is_empty() {
        // Instructions alone are a question to other providers, and refused here.
        messages.push(json!({ "role": "user", "content": system }));
    } else if !system.is_empty() {
        body["system"] = system.into();
    }
    body["messages"] = messages.into();
    Asked { body, answers_by_tool }
}

fn limit(request: &ChatRequest, facts: &ModelFacts) -> u64 {
    let most = facts.max_output_tokens;
    match request.max_output_tokens.map(u64::from) {
        Some(wanted) => most.map_or(wanted, |most| wanted.min(most)),
        None => most.unwrap_or(LEAST_KNOWN_LIMIT),
    }
}

fn tool(tool: &Tool, strict: bool) -> Value {
    let mut wire = json!({ "name": tool.name, "input_schema": tool.parameters });
    if !tool.description.is_empty() {
        wire["description"] = tool.description.as_str().into();
    }
    if tool.strict && strict {
        wire["input_schema"] = portable(&tool.parameters);
        wire["strict"] = true.into();
    }
    wire
}

fn answer_tool(schema: &JsonSchema, strict: bool) -> Value {
    let mut wire = json!({
        "name": ANSWER_TOOL,
        "description": "Takes your whole answer. Call it once.",
        "input_schema": portable(&schema.schema),
    });
    if strict {
        wire["strict"] = true.into();
    }
    wire
}

/// The choice, and what is said instead where it cannot be expressed.
fn tool_choice(request: &ChatRequest, forced: bool) -> (Option<Value>, Option<String>) {
    let (mut choice, instruction) = match &request.tool_choice {
        ToolChoice::Auto => (json!({ "type": "auto" }), None),
        ToolChoice::None => return (Some(json!({ "type": "none" })), None),
        ToolChoice::Required if forced => (json!({ "type": "any" }), None),
        ToolChoice::Named(name) if forced => (json!({ "type": "tool", "name": name }), None),
        ToolChoice::Required => {
            (json!({ "type": "auto" }), Some("Answer by calling one of the tools.".to_owned()))
        }
        ToolChoice::Named(name) => {
            (json!({ "type": "auto" }), Some(format!("Answer by calling the tool {name}.")))
        }
    };
    match request.parallel_tool_calls {
        Some(parallel) => choice["disable_parallel_tool_use"] = (!parallel).into(),
        // What is left is the default.
        None if choice["type"] == "auto" => return (None, instruction),
        None => {}
    }
    (Some(choice), instruction)
}

fn instruction(schema: &JsonSchema) -> String {
    format!(
        "Answer with one JSON object and nothing else: no prose, no code fence. It must match this JSON Schema:\n{}",
        schema.schema
    )
}

/// Models that accept sampling accept one of the two.
fn sampling(request: &ChatRequest, body: &mut Value) {
    if let Some(temperature) = request.temperature {
        body["temperature"] = decimal(temperature.clamp(0.0, 1.0));
    } else if let Some(top_p) = request.top_p {
        body["top_p"] = decimal(top_p);
    }
}
