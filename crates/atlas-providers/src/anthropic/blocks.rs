//! The blocks of an answer while it arrives, and as they go back.

use std::collections::BTreeMap;

use atlas_llm::Continuation;
use serde_json::{Map, Value};

use super::turns::DIALECT;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    Text,
    Thinking,
    /// With the index of our events.
    Call(usize),
    /// A call that is the answer itself.
    Answer,
    /// Of a kind that this version does not know.
    Unknown,
}

#[derive(Debug)]
struct Block {
    /// As it began; text and signatures are appended to it.
    wire: Value,
    kind: BlockKind,
    /// The arguments of a call, as they arrive.
    input: String,
}

/// Blocks by the provider's index.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: BTreeMap<u64, Block>,
}

impl Blocks {
    pub(super) fn begin(&mut self, index: u64, wire: &Value, kind: BlockKind) {
        self.blocks.insert(index, Block { wire: wire.clone(), kind, input: String::new() });
    }

    /// The next piece of a text member.
    pub(super) fn append(&mut self, index: u64, member: &str, piece: &str) {
        if let Some(Value::Object(members)) = self.blocks.get_mut(&index).map(|block| &mut block.wire) {
            match members.entry(member).or_insert_with(|| Value::String(String::new())) {
                Value::String(text) => text.push_str(piece),
                other => *other = piece.into(),
            }
        }
    }

    /// The next piece of a call's arguments, and what block they belong to.
    pub(super) fn append_input(&mut self, index: u64, piece: &str) -> BlockKind {
        self.blocks.get_mut(&index).map_or(BlockKind::Unknown, |block| {
            block.input.push_str(piece);
            block.kind
        })
    }

    /// Whether this block is the answer and has nothing in it: arguments without members.
    pub(super) fn is_empty_answer(&self, index: u64) -> bool {
        self.blocks.get(&index).is_some_and(|block| block.kind == BlockKind::Answer && block.input.is_empty())
    }

    /// The whole answer, if there is reasoning in it.
    pub(super) fn continuation(self) -> Option<Continuation> {
        if !self.blocks.values().any(|block| block.kind == BlockKind::Thinking) {
            return None;
        }
        let mut blocks = Vec::new();
        for Block { mut wire, kind, input } in self.blocks.into_values() {
            match kind {
                BlockKind::Thinking => {}
                // An empty text is made and refused by the same server.
                BlockKind::Text if wire["text"].as_str().is_some_and(|text| !text.trim().is_empty()) => {}
                BlockKind::Call(_) => {
                    // With arguments that were cut there is nothing to continue.
                    let input = if input.is_empty() { "{}" } else { &input };
                    wire["input"] = serde_json::from_str::<Map<String, Value>>(input).ok()?.into();
                }
                BlockKind::Text | BlockKind::Answer | BlockKind::Unknown => continue,
            }
            blocks.push(wire);
        }
        Some(Continuation { dialect: DIALECT, blocks: blocks.into() })
    }
}
