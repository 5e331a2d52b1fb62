//! The conversation as Bedrock takes it: it begins with the user, turns alternate, and no text is
//! blank.

use std::collections::HashMap;

use atlas_aws::sdk::types::{
    ContentBlock, ConversationRole, Message as Turn, ReasoningContentBlock, ReasoningTextBlock,
    ToolResultBlock, ToolResultContentBlock, ToolResultStatus, ToolUseBlock,
};
use atlas_aws::to_document;
use atlas_llm::{AssistantTurn, Continuation, Message, ProviderError, ProviderErrorKind};
use serde_json::{Value, json};

/// The dialect of our continuations.
pub(super) const DIALECT: &str = "bedrock";

/// The conversation, and what the rest of the request depends on.
#[derive(Debug)]
pub(super) struct History {
    /// The system texts, joined; empty when there are none or the model takes none.
    pub(super) system: String,
    pub(super) turns: Vec<Turn>,
    /// The tools that earlier turns called, each once.
    pub(super) called: Vec<String>,
}

/// What becomes of a conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    /// System turns are a field of their own; otherwise they stand before the first user text.
    pub(super) system: bool,
    /// Calls and their results are blocks; otherwise they become text.
    pub(super) tools: bool,
}

/// Reads a conversation. `extra` is a further instruction of ours.
pub(super) fn history(
    messages: &[Message],
    extra: Option<String>,
    ways: Ways,
) -> Result<History, ProviderError> {
    let mut system: Vec<String> = Vec::new();
    let mut made = Making { ids: Ids::of(messages), ..Making::default() };
    for message in messages {
        match message {
            Message::System(text) => system.extend(filled(text)),
            Message::User(text) => made.text(ConversationRole::User, text),
            Message::Assistant(turn) => made.assistant(turn, ways)?,
            Message::Tool { call_id, text, is_error } => made.result(call_id, text, *is_error, ways)?,
        }
    }
    system.extend(extra);
    let mut system = system.join("\n\n");
    if made.turns.is_empty() && !system.is_empty() {
        // Instructions alone are a question too; as the only text they have to be the user's.
        made.text(ConversationRole::User, &std::mem::take(&mut system));
    }
    let first = made
        .turns
        .first_mut()
        .ok_or_else(|| ProviderError::new(ProviderErrorKind::BadRequest, "the request has no text"))?;
    if first.0 == ConversationRole::Assistant {
        let opening = ContentBlock::Text("(The conversation begins with your turn.)".to_owned());
        made.turns.insert(0, (ConversationRole::User, vec![opening]));
    }
    if !ways.system && !system.is_empty() {
        made.put_first(std::mem::take(&mut system));
    }
    let turns = made.turns.into_iter().map(|(role, blocks)| {
        Turn::builder().role(role).set_content(Some(blocks)).build().map_err(|_| incomplete())
    });
    Ok(History { system, turns: turns.collect::<Result<_, _>>()?, called: made.called })
}

/// The SDK's builders demand what is always given here.
pub(super) fn incomplete() -> ProviderError {
    ProviderError::new(ProviderErrorKind::BadRequest, "the request lacks a part that Bedrock demands")
}

fn filled(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

#[derive(Default)]
struct Making {
    turns: Vec<(ConversationRole, Vec<ContentBlock>)>,
    called: Vec<String>,
    ids: Ids,
}

impl Making {
    fn push(&mut self, role: ConversationRole, block: ContentBlock) {
        match self.turns.last_mut() {
            Some((last, blocks)) if *last == role => blocks.push(block),
            _ => self.turns.push((role, vec![block])),
        }
    }

    fn text(&mut self, role: ConversationRole, text: &str) {
        if let Some(text) = filled(text) {
            self.push(role, ContentBlock::Text(text));
        }
    }

    fn assistant(&mut self, turn: &AssistantTurn, ways: Ways) -> Result<(), ProviderError> {
        let role = ConversationRole::Assistant;
        if let Some(Continuation { dialect: DIALECT, blocks }) = &turn.continuation
            && ways.tools
        {
            for block in blocks.as_array().into_iter().flatten().filter_map(reasoning_block) {
                self.push(role.clone(), block);
            }
        }
        self.text(role.clone(), &turn.text);
        for call in &turn.tool_calls {
            if !ways.tools {
                self.text(role.clone(), &format!("(Called {} with {})", call.name, call.arguments));
                continue;
            }
            if !self.called.contains(&call.name) {
                self.called.push(call.name.clone());
            }
            let block = ToolUseBlock::builder()
                .tool_use_id(self.ids.get(&call.id))
                .name(&call.name)
                .input(to_document(&arguments(&call.arguments)))
                .build();
            self.push(role.clone(), ContentBlock::ToolUse(block.map_err(|_| incomplete())?));
        }
        Ok(())
    }

    fn result(&mut self, call_id: &str, text: &str, is_error: bool, ways: Ways) -> Result<(), ProviderError> {
        let role = ConversationRole::User;
        let text = filled(text).unwrap_or_else(|| "(nothing)".to_owned());
        if !ways.tools {
            let word = if is_error { "failed" } else { "returned" };
            self.text(role, &format!("(The call {word}: {text})"));
            return Ok(());
        }
        let (status, content) = match serde_json::from_str(&text) {
            _ if is_error => (ToolResultStatus::Error, ToolResultContentBlock::Text(text)),
            Ok(object @ Value::Object(_)) => {
                (ToolResultStatus::Success, ToolResultContentBlock::Json(to_document(&object)))
            }
            _ => (ToolResultStatus::Success, ToolResultContentBlock::Text(text)),
        };
        let block = ToolResultBlock::builder()
            .tool_use_id(self.ids.get(call_id))
            .content(content)
            .status(status)
            .build();
        self.push(role, ContentBlock::ToolResult(block.map_err(|_| incomplete())?));
        Ok(())
    }

    /// Puts instructions before the first user text.
    fn put_first(&mut self, system: String) {
        let first = self.turns.first_mut().map(|(_, blocks)| blocks);
        match first.map(|blocks| (blocks.first().cloned(), blocks)) {
            Some((Some(ContentBlock::Text(text)), blocks)) => {
                blocks[0] = ContentBlock::Text(format!("{system}\n\n{text}"));
            }
            Some((_, blocks)) => blocks.insert(0, ContentBlock::Text(system)),
            None => {}
        }
    }
}

/// A model may have written anything; Bedrock takes objects only.
fn arguments(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => object,
        Ok(other) => json!({ "value": other }),
        Err(_) if text.trim().is_empty() => json!({}),
        Err(_) => json!({ "text": text }),
    }
}

/// Reasoning as it stands in a continuation. What Bedrock keeps hidden cannot be sent back as
/// text and is left out there.
fn reasoning_block(block: &Value) -> Option<ContentBlock> {
    let text = ReasoningTextBlock::builder()
        .text(block["text"].as_str()?)
        .set_signature(block["signature"].as_str().map(str::to_owned))
        .build();
    Some(ContentBlock::ReasoningContent(ReasoningContentBlock::ReasoningText(text.ok()?)))
}

/// Ids of calls as Bedrock takes them, `[A-Za-z0-9_.:-]{1,64}`. Histories come from other
/// providers too, whose ids may be anything.
#[derive(Default)]
struct Ids {
    mapped: HashMap<String, String>,
}

impl Ids {
    fn of(messages: &[Message]) -> Self {
        let calls = messages.iter().flat_map(|message| match message {
            Message::Assistant(turn) => turn.tool_calls.as_slice(),
            _ => &[],
        });
        let all: Vec<&str> = calls.map(|call| call.id.as_str()).collect();
        let mut mapped = HashMap::new();
        for (n, id) in all.iter().enumerate().filter(|(_, id)| !is_taken(id)) {
            // Not the id of any other call of this conversation.
            let free = (n..).map(|n| format!("call_{n}"));
            let free =
                free.filter(|free| !all.contains(&free.as_str()) && !mapped.values().any(|v| v == free));
            if let Some(free) = free.take(all.len() * 2 + 1).next() {
                mapped.insert((*id).to_owned(), free);
            }
        }
        Self { mapped }
    }

    fn get(&self, id: &str) -> String {
        self.mapped.get(id).map_or_else(|| id.to_owned(), Clone::clone)
    }
}

fn is_taken(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c))
}
