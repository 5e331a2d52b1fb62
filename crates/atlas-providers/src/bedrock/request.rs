//! From our request to Converse's.

use atlas_aws::sdk::types::{
    AnyToolChoice, AutoToolChoice, InferenceConfiguration, JsonSchemaDefinition, Message as Turn,
    OutputConfig, OutputFormat, OutputFormatStructure, OutputFormatType, SpecificToolChoice,
    SystemContentBlock, Tool as SdkTool, ToolChoice as SdkChoice, ToolConfiguration, ToolInputSchema,
    ToolSpecification,
};
use atlas_aws::to_document;
use atlas_llm::{ChatRequest, JsonSchema, ModelFacts, Output, ProviderError, Tool, ToolChoice};
use serde_json::{Value, json};

use super::history::{Ways, history, incomplete};

/// Sent when the caller names no limit: without one Bedrock reserves the model's maximum from the
/// account's token quota.
const OUTPUT_TOKENS: u64 = 4096;

/// What a model takes, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    pub(super) system: bool,
    pub(super) tools: bool,
    pub(super) streaming_tools: bool,
    pub(super) forced_tool: bool,
    pub(super) sampling: bool,
    pub(super) schema: SchemaWay,
}

/// How an answer gets its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SchemaWay {
    /// `outputConfig`.
    Native,
    /// A tool that has to be called, whose arguments are the answer.
    Tool,
    /// Words.
    Prompt,
}

/// A request ready to be sent, by either operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prepared {
    pub(super) turns: Vec<Turn>,
    pub(super) system: Option<Vec<SystemContentBlock>>,
    pub(super) inference: InferenceConfiguration,
    pub(super) tools: Option<ToolConfiguration>,
    pub(super) output: Option<OutputConfig>,
    /// The tool whose arguments are the answer.
    pub(super) answer_tool: Option<String>,
    /// Whether the answer may come as it is made.
    pub(super) streams: bool,
}

/// Makes the request that these abilities allow.
pub(super) fn prepare(
    model: &str,
    request: &ChatRequest,
    facts: &ModelFacts,
    abilities: Abilities,
) -> Result<Prepared, ProviderError> {
    let shape = shape(request, abilities);
    let ways = Ways { system: abilities.system, tools: abilities.tools };
    let history = history(&request.messages, shape.words, ways)?;
    let tools = match &shape.answer_tool {
        Some(schema) => Some(answer_tool(schema)?),
        None if abilities.tools => tools(request, &history.called, facts, abilities)?,
        None => None,
    };
    let system = (!history.system.is_empty()).then(|| vec![SystemContentBlock::Text(history.system)]);
    Ok(Prepared {
        turns: history.turns,
        system,
        inference: inference(model, request, facts, abilities),
        streams: tools.is_none() || abilities.streaming_tools,
        tools,
        output: shape.output,
        answer_tool: shape.answer_tool.map(|schema| schema.name.to_string()),
    })
}

/// What brings the answer into its shape: one of the three, or none.
#[derive(Default)]
struct Shape<'a> {
    output: Option<OutputConfig>,
    answer_tool: Option<&'a JsonSchema>,
    words: Option<String>,
}

fn shape(request: &ChatRequest, abilities: Abilities) -> Shape<'_> {
    let words = |schema: Option<&Value>| {
        let mut words = "Answer with one JSON object and nothing else: no prose, no code fence.".to_owned();
        if let Some(schema) = schema {
            words.push_str("\nIt has to be valid against this JSON Schema:\n");
            words.push_str(&schema.to_string());
        }
        Some(words)
    };
    match (&request.output, abilities.schema) {
        (Output::Text, _) => Shape::default(),
        (Output::Json, _) => Shape { words: words(None), ..Shape::default() },
        (Output::Schema(schema), SchemaWay::Native) => match native(schema) {
            Some(output) => Shape { output: Some(output), ..Shape::default() },
            None => Shape { words: words(Some(&schema.schema)), ..Shape::default() },
        },
        // Beside tools of the caller's a forced one would keep the model from calling them.
        (Output::Schema(schema), SchemaWay::Tool) if request.tools.is_empty() && !has_calls(request) => {
            Shape { answer_tool: Some(schema), ..Shape::default() }
        }
        (Output::Schema(schema), SchemaWay::Tool | SchemaWay::Prompt) => {
            Shape { words: words(Some(&schema.schema)), ..Shape::default() }
        }
    }
}

fn has_calls(request: &ChatRequest) -> bool {
    request
        .messages
        .iter()
        .any(|message| matches!(message, atlas_llm::Message::Assistant(turn) if !turn.tool_calls.is_empty()))
}

/// The schema goes as text.
fn native(schema: &JsonSchema) -> Option<OutputConfig> {
    let definition = JsonSchemaDefinition::builder().name(&*schema.name).schema(schema.schema.to_string());
    let format = OutputFormat::builder()
        .r#type(OutputFormatType::JsonSchema)
        .structure(OutputFormatStructure::JsonSchema(definition.build().ok()?));
    Some(OutputConfig::builder().text_format(format.build().ok()?).build())
}

fn answer_tool(schema: &JsonSchema) -> Result<ToolConfiguration, ProviderError> {
    let spec = specification(&schema.name, "Gives the answer. Call it once.", &schema.schema, false)?;
    let choice = SpecificToolChoice::builder().name(&*schema.name).build().map_err(|_| incomplete())?;
    let tools = ToolConfiguration::builder().tools(spec).tool_choice(SdkChoice::Tool(choice));
    tools.build().map_err(|_| incomplete())
}

/// The caller's tools; and those that only earlier turns called, because Bedrock wants tools
/// whenever the history has calls.
fn tools(
    request: &ChatRequest,
    called: &[String],
    facts: &ModelFacts,
    abilities: Abilities,
) -> Result<Option<ToolConfiguration>, ProviderError> {
    let offered: &[Tool] =
        if request.tool_choice == ToolChoice::None && called.is_empty() { &[] } else { &request.tools };
    let strict = |tool: &Tool| tool.strict && facts.json_schema == Some(true);
    let mut specs = Vec::new();
    for tool in offered {
        specs.push(specification(&tool.name, &tool.description, &tool.parameters, strict(tool))?);
    }
    for name in called.iter().filter(|name| offered.iter().all(|tool| tool.name != **name)) {
        specs.push(specification(name, "No longer available.", &json!({ "type": "object" }), false)?);
    }
    if specs.is_empty() {
        return Ok(None);
    }
    let auto = SdkChoice::Auto(AutoToolChoice::builder().build());
    let choice = match &request.tool_choice {
        _ if !abilities.forced_tool || offered.is_empty() => auto,
        ToolChoice::Auto | ToolChoice::None => auto,
        ToolChoice::Required => SdkChoice::Any(AnyToolChoice::builder().build()),
        ToolChoice::Named(name) => {
            SdkChoice::Tool(SpecificToolChoice::builder().name(name).build().map_err(|_| incomplete())?)
        }
    };
    let tools = ToolConfiguration::builder().set_tools(Some(specs)).tool_choice(choice).build();
    tools.map(Some).map_err(|_| incomplete())
}

fn specification(
    name: &str,
    description: &str,
    schema: &Value,
    strict: bool,
) -> Result<SdkTool, ProviderError> {
    let description = description.trim();
    let spec = ToolSpecification::builder()
        .name(name)
        .set_description((!description.is_empty()).then(|| description.to_owned()))
        .input_schema(ToolInputSchema::Json(to_document(schema)))
        .set_strict(strict.then_some(true));
    spec.build().map(SdkTool::ToolSpec).map_err(|_| incomplete())
}

fn inference(
    model: &str,
    request: &ChatRequest,
    facts: &ModelFacts,
    abilities: Abilities,
) -> InferenceConfiguration {
    let wanted = request.max_output_tokens.map_or(OUTPUT_TOKENS, u64::from);
    let most = facts.max_output_tokens.unwrap_or(wanted);
    let max_tokens = i32::try_from(wanted.min(most).max(1)).unwrap_or(i32::MAX);
    let sampling =
        |value: Option<f32>| value.filter(|_| abilities.sampling).map(|value| value.clamp(0.0, 1.0));
    let temperature = sampling(request.temperature);
    // Several Claude models refuse both at once.
    let only_one = temperature.is_some() && model.contains("anthropic.");
    let stop: Vec<String> = request.stop.iter().filter(|text| !text.trim().is_empty()).cloned().collect();
    InferenceConfiguration::builder()
        .max_tokens(max_tokens)
        .set_temperature(temperature)
        .set_top_p(sampling(request.top_p).filter(|_| !only_one))
        .set_stop_sequences((!stop.is_empty()).then_some(stop))
        .build()
}
