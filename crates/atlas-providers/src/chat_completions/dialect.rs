//! How the servers that speak chat completions differ.

use std::time::Duration;

use atlas_vendor::{ModelFamily, Refusal};
use serde_json::{Value, json};

/// The differences of one dialect. [`COMPATIBLE`] says and expects the least; the others are
/// written as what they have more.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Whose naming the models follow, the likeliest first.
    pub(crate) families: &'static [ModelFamily],
    /// The model's name where the settings have none.
    pub(crate) default_model: Option<&'static str>,
    /// `max_completion_tokens` rather than `max_tokens`.
    pub(crate) completion_limit: bool,
    /// OpenAI pads streams against traffic analysis unless told not to; others refuse the word.
    pub(crate) obfuscation_off: bool,
    /// Instructions to models that reason come from `developer`.
    pub(crate) developer_role: bool,
    /// `reasoning_effort` is known, and models that reason refuse `stop`.
    pub(crate) reasoning_effort: bool,
    /// A tool's `strict` is known.
    pub(crate) strict_tools: bool,
    /// `parallel_tool_calls` is known.
    pub(crate) parallel_tool_calls: bool,
    /// `tool_choice: "none"` keeps tools out of the answer. Elsewhere the tools are left out, as
    /// they may be rendered into the prompt all the same.
    pub(crate) tool_choice_none: bool,
    /// Tools and a form of the answer may be asked for together. Elsewhere tools win, and the form
    /// is asked for in the prompt.
    pub(crate) tools_with_form: bool,
    /// `temperature: 0` and `top_p: 1` are accepted.
    pub(crate) sampling_bounds: bool,
    /// The server's own way to ask for a shape, for where it does not know `json_schema`.
    pub(crate) grammar: Option<Grammar>,
    /// How any JSON object is asked for.
    pub(crate) json_object: fn() -> Value,
    /// Some models answer tools through the Responses API only.
    pub(crate) responses: bool,
    /// What `GET models` tells.
    pub(crate) models: ModelList,
    /// How long the first token may take: reasoning models think before it, and a server of one's
    /// own may load the model first.
    pub(crate) first_token: Duration,
    /// What we know beyond the server's own words about a refusal.
    pub(crate) advice: fn(&Refusal) -> Option<&'static str>,
}

/// A member of the request that asks for this schema.
pub(crate) type Grammar = fn(&Value) -> (&'static str, Value);

/// What `GET models` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelList {
    /// The models there are. That it was given proves nothing about the key, because public lists
    /// and servers without authentication are common.
    Open,
    /// The models there are, to whoever has a key.
    Keyed,
    /// What could be deployed: it proves the key and says nothing about the model.
    Deployable,
    /// The one model there is, under whatever name it is asked for; its limits are in `/info`.
    Tgi,
}

const TWO_MINUTES: Duration = Duration::from_secs(120);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

pub(crate) const COMPATIBLE: Dialect = Dialect {
    families: &[ModelFamily::Compatible, ModelFamily::Local, ModelFamily::Openai],
    default_model: None,
    completion_limit: false,
    obfuscation_off: false,
    developer_role: false,
    reasoning_effort: false,
    strict_tools: false,
    parallel_tool_calls: false,
    tool_choice_none: false,
    tools_with_form: true,
    sampling_bounds: true,
    grammar: None,
    json_object: || json!({ "type": "json_object" }),
    responses: false,
    models: ModelList::Open,
    first_token: TWO_MINUTES,
    advice: |_| None,
};

pub(crate) const OPENAI: Dialect = Dialect {
    families: &[ModelFamily::Openai],
    completion_limit: true,
    obfuscation_off: true,
    developer_role: true,
    reasoning_effort: true,
    strict_tools: true,
    parallel_tool_calls: true,
    tool_choice_none: true,
    responses: true,
    models: ModelList::Keyed,
    first_token: FIVE_MINUTES,
    ..COMPATIBLE
};

/// The label `openai` at another address: a gateway, or a server that imitates OpenAI.
pub(crate) const GATEWAY: Dialect = Dialect {
    families: &[ModelFamily::Openai, ModelFamily::Compatible, ModelFamily::Local],
    responses: true,
    ..COMPATIBLE
};

pub(crate) const AZURE: Dialect = Dialect {
    // Classic URLs refuse what they do not know more often than OpenAI does.
    obfuscation_off: false,
    developer_role: false,
    models: ModelList::Deployable,
    advice: azure_advice,
    ..OPENAI
};

pub(crate) const VLLM: Dialect = Dialect {
    families: &[ModelFamily::Local],
    strict_tools: true,
    parallel_tool_calls: true,
    grammar: Some(|schema| ("structured_outputs", json!({ "json": schema }))),
    advice: vllm_advice,
    ..COMPATIBLE
};

pub(crate) const TGI: Dialect = Dialect {
    families: &[ModelFamily::Local],
    default_model: Some("tgi"),
    tools_with_form: false,
    sampling_bounds: false,
    // Version 2 knows only this form; version 3 both.
    grammar: Some(|schema| ("response_format", json!({ "type": "json", "value": schema }))),
    json_object: || json!({ "type": "json_object", "value": { "type": "object" } }),
    models: ModelList::Tgi,
    ..COMPATIBLE
};

pub(crate) const CONTROL_PLANE: Dialect =
    Dialect { default_model: Some("default"), models: ModelList::Keyed, ..COMPATIBLE };

fn azure_advice(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal.error.status()? {
        401 if refusal.names("permissiondenied") => {
            "the identity lacks the role Cognitive Services OpenAI User on this resource"
        }
        403 if refusal.names("public access is disabled") => {
            "the host's name resolves to its public address here; DNS must give the address of the private endpoint"
        }
        403 if refusal.names("firewall") => {
            "the resource's network rules do not list this network; allow it there, or use a private endpoint"
        }
        404 if refusal.names("deploymentnotfound") => {
            "BYOC_MODEL must be the name of a deployment in this resource, not the name of a model"
        }
        404 => {
            "check the path of BYOC_ENDPOINT_URL and BYOC_AZURE_API_VERSION, and that BYOC_MODEL is the deployment name, not the model name"
        }
        _ => return None,
    })
}

fn vllm_advice(refusal: &Refusal) -> Option<&'static str> {
    refusal.names("--enable-auto-tool-choice").then_some(
        "this server was started without tools: start vLLM with --enable-auto-tool-choice and the --tool-call-parser of its model",
    )
}
