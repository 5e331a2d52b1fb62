//! From Bedrock's events to ours.

use std::collections::{BTreeMap, VecDeque};

use atlas_aws::sdk::operation::converse::ConverseOutput as WholeAnswer;
use atlas_aws::sdk::operation::converse_stream::ConverseStreamOutput as StreamedAnswer;
use atlas_aws::sdk::types::{
    ContentBlock, ContentBlockDelta, ContentBlockStart, ConverseOutput, ConverseStreamOutput as Event,
    ReasoningContentBlock, ReasoningContentBlockDelta, StopReason, TokenUsage,
};
use atlas_aws::{explain_event, from_document};
use atlas_domain::Retry;
use atlas_llm::{ChatEvent, ChatStream, Continuation, Finish, ProviderError, ProviderErrorKind, Usage};
use atlas_vendor::Scrubber;
use futures_util::stream::{StreamExt, iter, unfold};
use serde_json::{Value, json};

use super::history::DIALECT;

/// The events of an answer that comes as it is made.
pub(super) fn streamed(
    answer: StreamedAnswer,
    answer_tool: Option<String>,
    scrubber: Scrubber,
) -> ChatStream {
    let reading =
        Reading { answer, reader: Some(Reader::new(answer_tool)), ready: VecDeque::new(), scrubber };
    unfold(reading, |mut reading| async { reading.next().await.map(|event| (event, reading)) }).boxed()
}

/// The events of an answer that came in one piece.
pub(super) fn whole(answer: WholeAnswer, answer_tool: Option<String>) -> Result<ChatStream, ProviderError> {
    let mut reader = Reader::new(answer_tool);
    let mut events = Vec::new();
    reader.whole(answer, &mut events)?;
    Ok(iter(events.into_iter().map(Ok)).boxed())
}

struct Reading {
    answer: StreamedAnswer,
    /// Gone after the end.
    reader: Option<Reader>,
    ready: VecDeque<Result<ChatEvent, ProviderError>>,
    scrubber: Scrubber,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<ChatEvent, ProviderError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let reader = self.reader.as_mut()?;
            let mut events = Vec::new();
            let read = match self.answer.stream.recv().await {
                Ok(Some(event)) => reader.event(event, &mut events),
                Ok(None) => reader.end(&mut events),
                // The answer is whole; what was lost is at most the count of tokens.
                Err(_) if reader.stop.is_some() => reader.end(&mut events),
                Err(error) => Err(explain_event(&error, &self.scrubber)),
            };
            if reader.is_over || read.is_err() {
                self.reader = None;
            }
            self.ready.extend(events.into_iter().map(Ok).chain(read.err().map(Err)));
        }
    }
}

/// Puts one answer together. Pure.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The tool whose arguments are the answer, and whether the model has called it.
    answer_tool: Option<String>,
    answered: bool,
    blocks: BTreeMap<i32, Block>,
    n_calls: usize,
    usage: Option<Usage>,
    /// Why the model stopped; only the count of tokens may follow.
    pub(super) stop: Option<StopReason>,
    pub(super) is_over: bool,
}

/// What is remembered of a block of the answer.
#[derive(Debug)]
enum Block {
    Call(usize),
    /// The call that stands for the answer, and whether it had any arguments.
    Answer(bool),
    Reasoning {
        text: String,
        signature: Option<String>,
    },
}

impl Reader {
    pub(super) fn new(answer_tool: Option<String>) -> Self {
        Self { answer_tool, ..Self::default() }
    }

    /// The next event.
    pub(super) fn event(&mut self, event: Event, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        match event {
            Event::ContentBlockStart(start) => {
                if let Some(ContentBlockStart::ToolUse(tool)) = start.start {
                    self.call(start.content_block_index, tool.tool_use_id, tool.name, events);
                }
            }
            Event::ContentBlockDelta(delta) => {
                let at = delta.content_block_index;
                match delta.delta {
                    Some(ContentBlockDelta::Text(text)) => self.text(text, events),
                    Some(ContentBlockDelta::ToolUse(tool)) => self.arguments(at, tool.input, events),
                    Some(ContentBlockDelta::ReasoningContent(delta)) => self.reasoning(at, delta, events),
                    _ => {}
                }
            }
            Event::ContentBlockStop(stop) => self.block_ends(stop.content_block_index, events),
            Event::MessageStop(stop) => {
                malformed(&stop.stop_reason)?;
                self.stop = Some(stop.stop_reason);
            }
            Event::Metadata(metadata) => {
                self.usage = metadata.usage.as_ref().map(usage);
                if self.stop.is_some() {
                    self.finish(events);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The stream has ended by itself.
    pub(super) fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if self.is_over {
            return Ok(());
        }
        if self.stop.is_none() {
            return Err(ProviderError::cut_short());
        }
        self.finish(events);
        Ok(())
    }

    fn whole(&mut self, answer: WholeAnswer, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        malformed(&answer.stop_reason)?;
        let Some(ConverseOutput::Message(message)) = answer.output else {
            return Err(ProviderError::new(ProviderErrorKind::Protocol, "the answer holds no message"));
        };
        for (at, block) in (0..).zip(message.content) {
            match block {
                ContentBlock::Text(text) => self.text(text, events),
                ContentBlock::ToolUse(tool) => {
                    let input = from_document(&tool.input);
                    self.call(at, tool.tool_use_id, tool.name, events);
                    self.arguments(
                        at,
                        if is_nothing(&input) { String::new() } else { input.to_string() },
                        events,
                    );
                }
                ContentBlock::ReasoningContent(ReasoningContentBlock::ReasoningText(text)) => {
                    self.reasoning(at, ReasoningContentBlockDelta::Text(text.text), events);
                    if let Some(signature) = text.signature {
                        self.reasoning(at, ReasoningContentBlockDelta::Signature(signature), events);
                    }
                }
                _ => {}
            }
            self.block_ends(at, events);
        }
        self.usage = answer.usage.as_ref().map(usage);
        self.stop = Some(answer.stop_reason);
        self.finish(events);
        Ok(())
    }

    fn text(&self, text: String, events: &mut Vec<ChatEvent>) {
        if text.is_empty() {
            return;
        }
        // Beside the call that is the answer, words are thinking aloud.
        events.push(match self.answer_tool {
            Some(_) => ChatEvent::Reasoning(text),
            None => ChatEvent::Text(text),
        });
    }

    fn call(&mut self, at: i32, id: String, name: String, events: &mut Vec<ChatEvent>) {
        if self.answer_tool.as_ref() == Some(&name) {
            // A second call would be a second answer.
            if !std::mem::replace(&mut self.answered, true) {
                self.blocks.insert(at, Block::Answer(false));
            }
            return;
        }
        let index = self.n_calls;
        self.n_calls += 1;
        self.blocks.insert(at, Block::Call(index));
        events.push(ChatEvent::ToolCall { index, id, name });
    }

    fn arguments(&mut self, at: i32, json: String, events: &mut Vec<ChatEvent>) {
        if json.is_empty() {
            return;
        }
        match self.blocks.get_mut(&at) {
            Some(Block::Call(index)) => events.push(ChatEvent::Arguments { index: *index, json }),
            Some(Block::Answer(has_arguments)) => {
                *has_arguments = true;
                events.push(ChatEvent::Text(json));
            }
            _ => {}
        }
    }

    fn reasoning(&mut self, at: i32, delta: ReasoningContentBlockDelta, events: &mut Vec<ChatEvent>) {
        let block = self.blocks.entry(at);
        let block = block.or_insert_with(|| Block::Reasoning { text: String::new(), signature: None });
        let Block::Reasoning { text, signature } = block else { return };
        match delta {
            ReasoningContentBlockDelta::Text(piece) => {
                text.push_str(&piece);
                if !piece.is_empty() {
                    events.push(ChatEvent::Reasoning(piece));
                }
            }
            ReasoningContentBlockDelta::Signature(piece) => {
                signature.get_or_insert_default().push_str(&piece);
            }
            _ => {}
        }
    }

    fn block_ends(&mut self, at: i32, events: &mut Vec<ChatEvent>) {
        // A call without arguments sends none; as an answer it is still an object.
        if let Some(Block::Answer(false)) = self.blocks.get(&at) {
            events.push(ChatEvent::Text("{}".to_owned()));
        }
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        let reasoning: Vec<Value> = self.blocks.values().filter_map(signed).collect();
        // Only calls are followed by a turn that has to repeat what the model thought.
        if !reasoning.is_empty() && self.n_calls > 0 {
            let blocks = Value::Array(reasoning);
            events.push(ChatEvent::Continuation(Continuation { dialect: DIALECT, blocks }));
        }
        events.extend(self.usage.take().map(ChatEvent::Usage));
        let finish = match self.stop.as_ref() {
            _ if self.n_calls > 0 => Finish::ToolCalls,
            Some(StopReason::ToolUse) if self.answered => Finish::Stop,
            Some(reason) => finish(reason),
            None => Finish::Stop,
        };
        events.push(ChatEvent::Finished(finish));
        self.is_over = true;
    }
}

fn is_nothing(input: &Value) -> bool {
    input.is_null() || input.as_object().is_some_and(serde_json::Map::is_empty)
}

fn signed(block: &Block) -> Option<Value> {
    match block {
        Block::Reasoning { text, signature: Some(signature) } => {
            Some(json!({ "text": text, "signature": signature }))
        }
        _ => None,
    }
}

/// What the model wrote could not be read by Bedrock. It is a dice roll, so worth another.
fn malformed(reason: &StopReason) -> Result<(), ProviderError> {
    match reason {
        StopReason::MalformedModelOutput | StopReason::MalformedToolUse => {
            let detail = format!("the model's answer was malformed ({})", reason.as_str());
            Err(ProviderError::new(ProviderErrorKind::Server, detail).with_retry(Retry::Now))
        }
        _ => Ok(()),
    }
}

fn finish(reason: &StopReason) -> Finish {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence => Finish::Stop,
        StopReason::MaxTokens | StopReason::ModelContextWindowExceeded => Finish::Length,
        StopReason::ToolUse => Finish::ToolCalls,
        StopReason::ContentFiltered | StopReason::GuardrailIntervened => Finish::ContentFilter,
        other if other.as_str() == "refusal" => Finish::Refusal,
        other => Finish::Other(other.as_str().to_owned()),
    }
}

/// Bedrock counts cached tokens beside the input, we count them in it.
fn usage(counted: &TokenUsage) -> Usage {
    let count = |tokens: i32| u64::try_from(tokens).unwrap_or_default();
    let cached_input = counted.cache_read_input_tokens.map(count).unwrap_or_default();
    let cache_write = counted.cache_write_input_tokens.map(count).unwrap_or_default();
    Usage {
        input: count(counted.input_tokens) + cached_input + cache_write,
        output: count(counted.output_tokens),
        cached_input,
        cache_write,
        reasoning: 0,
    }
}
