//! The tools a client brings, and whether they must be asked for.

use atlas_llm::{Tool, ToolChoice};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::{missing, unsupported, wrong};
use crate::problem::Problem;

/// The longest name that every provider takes.
const NAME_CHARS: usize = 64;

#[derive(Debug, Deserialize)]
pub(super) struct WireTool {
    #[serde(rename = "type")]
    kind: String,
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    description: Option<String>,
    parameters: Option<Value>,
    strict: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum WireChoice {
    Word(String),
    This(Chosen),
}

#[derive(Debug, Deserialize)]
pub(super) struct Chosen {
    #[serde(rename = "type")]
    kind: String,
    function: Option<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

pub(super) fn tools(wire: Vec<WireTool>) -> Result<Vec<Tool>, Problem> {
    wire.into_iter().enumerate().map(|(n, tool)| one(&format!("tools[{n}]"), tool)).collect()
}

fn one(place: &str, tool: WireTool) -> Result<Tool, Problem> {
    if tool.kind != "function" {
        return Err(unsupported(&format!("{place}.type"), "send the type `function`"));
    }
    let function = tool.function.ok_or_else(|| missing(&format!("{place}.function")))?;
    check_name(&format!("{place}.function.name"), &function.name)?;
    // OpenAI: left out, the tool has no parameters.
    let parameters = function.parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    if !parameters.is_object() {
        return Err(wrong(&format!("{place}.function.parameters"), "it is not an object"));
    }
    Ok(Tool {
        name: function.name,
        description: function.description.unwrap_or_default(),
        parameters,
        strict: function.strict.unwrap_or_default(),
    })
}

pub(super) fn choice(wire: Option<WireChoice>, tools: &[Tool]) -> Result<ToolChoice, Problem> {
    let choice = match wire {
        None => return Ok(ToolChoice::Auto),
        Some(WireChoice::Word(word)) => match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => return Err(wrong("tool_choice", "it is not none, auto, required or a function")),
        },
        Some(WireChoice::This(Chosen { kind, function })) if kind == "function" => {
            let Named { name } = function.ok_or_else(|| missing("tool_choice.function"))?;
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(wrong("tool_choice.function.name", "`tools` holds no function of this name"));
            }
            ToolChoice::Named(name)
        }
        Some(WireChoice::This(_)) => {
            return Err(unsupported("tool_choice.type", "send none, auto, required or a function"));
        }
    };
    match choice {
        ToolChoice::Required if tools.is_empty() => {
            Err(wrong("tool_choice", "it asks for a tool, and `tools` is empty"))
        }
        choice => Ok(choice),
    }
}

/// Names of tools and schemas.
pub(super) fn check_name(place: &str, name: &str) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=NAME_CHARS).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(wrong(place, "it is not 1 to 64 letters, digits, underscores and dashes"))
}
