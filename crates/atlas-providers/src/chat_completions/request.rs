//! The request body.

use atlas_llm::{ChatRequest, JsonSchema, Output, Tool, ToolChoice};
use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::quirks::{Quirks, Shape};
use super::turns;

/// The body of a chat request. Without a name of the model where the URL has it.
pub(crate) fn body(model: Option<&str>, request: &ChatRequest, dialect: &Dialect, quirks: &Quirks) -> Value {
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    let mut turns = turns::of(request, quirks);
    if let Some(model) = model {
        set("model", model.into());
    }
    set("stream", true.into());
    if quirks.stream_usage {
        let mut options = json!({ "include_usage": true });
        if dialect.obfuscation_off {
            options["include_obfuscation"] = false.into();
        }
        set("stream_options", options);
    }
    if let Some(limit) = request.max_output_tokens {
        set(if quirks.completion_limit { "max_completion_tokens" } else { "max_tokens" }, limit.into());
    }
    if quirks.sampling {
        let within = |value: f32, refused: bool| dialect.sampling_bounds || !refused && value > 0.0;
        if let Some(value) = request.temperature.filter(|value| within(*value, false)) {
            set("temperature", decimal(value));
        }
        if let Some(value) = request.top_p.filter(|value| within(*value, *value >= 1.0)) {
            set("top_p", decimal(value));
        }
    }
    if quirks.stop && !request.stop.is_empty() {
        set("stop", request.stop.clone().into());
    }
    if let Some(seed) = request.seed {
        set("seed", seed.into());
    }
    let forbidden = request.tool_choice == ToolChoice::None && !dialect.tool_choice_none;
    if !request.tools.is_empty() && !forbidden {
        set("tools", request.tools.iter().map(|tool| function(tool, quirks)).collect());
        if let Some(choice) = tool_choice(&request.tool_choice, quirks) {
            set("tool_choice", choice);
        }
        if let Some(parallel) = request.parallel_tool_calls.filter(|_| quirks.parallel_tool_calls) {
            set("parallel_tool_calls", parallel.into());
        }
        if quirks.effort_none {
            set("reasoning_effort", "none".into());
        }
    }
    match (quirks.shape_of(dialect, request), &request.output) {
        (None, _) => {}
        (Some(Shape::Schema), Output::Schema(schema)) => {
            set("response_format", strict_schema(schema));
        }
        (Some(Shape::Grammar), Output::Schema(schema)) => match dialect.grammar {
            Some(grammar) => {
                let (name, value) = grammar(&schema.schema);
                set(name, value);
            }
            None => turns::instruct(&mut turns, Some(schema)),
        },
        (Some(Shape::Object), output) => {
            set("response_format", (dialect.json_object)());
            // OpenAI refuses `json_object` where no turn has the word JSON.
            if output.schema().is_some() || !turns::mention_json(request) {
                turns::instruct(&mut turns, output.schema());
            }
        }
        (Some(_), output) => turns::instruct(&mut turns, output.schema()),
    }
    set("messages", turns::finish(turns, quirks).into());
    body.into()
}

/// By way of its text, so that 0.2 stays 0.2 and does not become 0.20000000298.
fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().unwrap_or_default().into()
}

fn function(tool: &Tool, quirks: &Quirks) -> Value {
    let mut function = json!({
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    });
    if tool.strict && quirks.strict_tools {
        function["strict"] = true.into();
    }
    json!({ "type": "function", "function": function })
}

/// `auto` is what every server does by itself.
fn tool_choice(choice: &ToolChoice, quirks: &Quirks) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some("none".into()),
        ToolChoice::Required | ToolChoice::Named(_) if !quirks.forced_tools => None,
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Named(name) => Some(json!({ "type": "function", "function": { "name": name } })),
    }
}

fn strict_schema(schema: &JsonSchema) -> Value {
    json!({
        "type": "json_schema",
        "json_schema": { "name": schema.name, "strict": true, "schema": schema.schema },
    })
}
