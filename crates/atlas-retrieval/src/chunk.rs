//! Cutting Markdown into passages.
//!
//! A passage is always one contiguous range of the document: nothing can be lost or reordered,
//! and a quotation found in a passage is found in the document. Cuts are made at headings first;
//! a section that is longer than the embedding model reads is cut between blocks, then inside a
//! block at lines, sentences, words. A code block is never cut: half a command is worse than one
//! that the model reads only the beginning of.

use std::ops::Range;

use atlas_embed::TokenCounter;

mod cut;
mod outline;
#[cfg(test)]
mod tests;

/// A passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Headings from the title down.
    pub(crate) heading: String,
    /// A range of the document, without surrounding blank lines.
    pub(crate) text: String,
}

/// Sections with fewer tokens than this are merged with a neighbour of the same parent. Runbooks
/// are full of one-line sections; on its own such a line is compared without its context.
const TINY_TOKENS: usize = 32;

/// The tokens of a passage with its heading: what the model reads, and not more than 256, beyond
/// which the mean over the tokens says less and less about any of them.
pub(crate) fn budget(counter: &dyn TokenCounter) -> usize {
    const SPECIAL_TOKENS: usize = 2;
    counter.max_tokens().min(256).saturating_sub(SPECIAL_TOKENS).max(8)
}

/// What is embedded for a passage. A passage without heading is embedded as it stands.
pub(crate) fn embedded_text(heading: &str, text: &str) -> String {
    if heading.is_empty() { text.to_owned() } else { format!("{heading}\n{text}") }
}

/// Cuts a document into passages of at most `budget` tokens, headings included.
pub(crate) fn split(title: &str, markdown: &str, counter: &dyn TokenCounter, budget: usize) -> Vec<Piece> {
    let outline = outline::of(title, markdown);
    let mut drafts: Vec<Draft> = Vec::new();
    for section in &outline.sections {
        let room = room(&section.path, counter, budget);
        let n_tokens = counter.count_tokens(&markdown[section.range()]);
        if n_tokens <= room {
            drafts.push(Draft::whole(section, n_tokens));
        } else {
            let parts = cut::parts(markdown, section, &outline.uncut, counter, room);
            drafts.extend(parts.into_iter().map(|range| Draft::part(section, range)));
        }
    }
    merge_tiny(drafts, counter, budget)
        .into_iter()
        .map(|draft| Piece { heading: draft.path.join(" > "), text: trim(markdown, draft.range).to_owned() })
        .filter(|piece| !piece.text.is_empty())
        .collect()
}

/// A passage in the making.
struct Draft {
    range: Range<usize>,
    path: Vec<String>,
    parent: Vec<String>,
    /// The tokens of a whole section; a part of a section is never merged.
    n_tokens: Option<usize>,
}

impl Draft {
    fn whole(section: &outline::Section, n_tokens: usize) -> Self {
        Self { n_tokens: Some(n_tokens), ..Self::part(section, section.range()) }
    }

    fn part(section: &outline::Section, range: Range<usize>) -> Self {
        Self { range, path: section.path.clone(), parent: section.parent().to_vec(), n_tokens: None }
    }
}

fn merge_tiny(drafts: Vec<Draft>, counter: &dyn TokenCounter, budget: usize) -> Vec<Draft> {
    let mut merged: Vec<Draft> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        if let Some(last) = merged.last_mut()
            && let (Some(before), Some(after)) = (last.n_tokens, draft.n_tokens)
            && last.parent == draft.parent
            && (before < TINY_TOKENS || after < TINY_TOKENS)
            && before + after <= room(&last.parent, counter, budget)
        {
            last.range.end = draft.range.end;
            last.path.clone_from(&last.parent);
            last.n_tokens = Some(before + after);
        } else {
            merged.push(draft);
        }
    }
    merged
}

/// The tokens left for the text under a heading path; at least half, however long the path.
fn room(path: &[String], counter: &dyn TokenCounter, budget: usize) -> usize {
    budget.saturating_sub(counter.count_tokens(&path.join(" > "))).max(budget / 2).max(1)
}

/// Without blank lines around it; the indentation of a whole first line stays.
fn trim(markdown: &str, range: Range<usize>) -> &str {
    let begins_a_line = range.start == 0 || markdown[..range.start].ends_with('\n');
    let text = markdown[range].trim_end();
    let blank = text.len() - text.trim_start().len();
    let first_line = text[..blank].rfind('\n').map(|newline| newline + 1);
    &text[first_line.unwrap_or(if begins_a_line { 0 } else { blank })..]
}
