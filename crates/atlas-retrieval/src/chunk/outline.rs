//! The blocks and sections of a document, as ranges that partition it.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Longest heading in a path; a heading is a name, and one that is a paragraph is cut.
const HEADING_CHARS: usize = 160;

/// A document's sections in order.
pub(super) struct Outline {
    pub(super) sections: Vec<Section>,
    /// Code blocks at any depth: no cut falls inside one.
    pub(super) uncut: Vec<Range<usize>>,
}

/// A heading with what follows it up to the next heading.
#[derive(Debug)]
pub(super) struct Section {
    /// The title and the headings down to this one.
    pub(super) path: Vec<String>,
    /// Never empty.
    pub(super) blocks: Vec<Block>,
}

impl Section {
    pub(super) fn range(&self) -> Range<usize> {
        self.blocks[0].range.start..self.blocks[self.blocks.len() - 1].range.end
    }

    fn is_bare(&self) -> bool {
        self.blocks.iter().all(|block| matches!(block.kind, Kind::Heading { .. }))
    }
}

/// A block of the top level, or an item of a list there, with the blank lines after it.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Heading {
        level: usize,
        text: String,
    },
    Code,
    /// Running text: its line breaks mean nothing.
    Paragraph,
    /// Lists, tables, quotations: a line is a unit.
    Lines,
}

pub(super) fn of(title: &str, markdown: &str) -> Outline {
    let (blocks, uncut) = blocks(markdown);
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    for block in blocks {
        let Kind::Heading { level, text } = &block.kind else {
            match sections.last_mut() {
                Some(section) => section.blocks.push(block),
                None => sections.push(Section { path: path(title, &open), blocks: vec![block] }),
            }
            continue;
        };
        open.retain(|(above, _)| above < level);
        open.push((*level, text.clone()));
        let path = path(title, &open);
        match sections.last_mut() {
            // A heading with nothing under it begins the next section: alone it answers nothing.
            Some(bare) if bare.is_bare() => {
                bare.path = path;
                bare.blocks.push(block);
            }
            _ => sections.push(Section { path, blocks: vec![block] }),
        }
    }
    // A bare heading at the very end has no next section: it closes the one before.
    if sections.len() > 1
        && let Some(bare) = sections.pop_if(|section| section.is_bare())
        && let Some(before) = sections.last_mut()
    {
        before.blocks.extend(bare.blocks);
    }
    Outline { sections, uncut }
}

fn path(title: &str, open: &[(usize, String)]) -> Vec<String> {
    let headings = open.iter().map(|(_, text)| text);
    // `# KubePodCrashLooping` below the title `Kube Pod Crash Looping` is the title once more.
    let headings = headings.filter(|text| !text.is_empty() && !same_name(text, title)).cloned();
    let mut path: Vec<String> = Vec::with_capacity(open.len() + 1);
    if !title.trim().is_empty() {
        path.push(shorten(title));
    }
    path.extend(headings);
    if path.is_empty() {
        path.push(String::new());
    }
    path
}

fn same_name(a: &str, b: &str) -> bool {
    let letters = |text: &str| {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>()
    };
    letters(a) == letters(b)
}

fn shorten(heading: &str) -> String {
    heading.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(HEADING_CHARS).collect()
}

/// The blocks, each up to the begin of the next, so that they partition the document.
fn blocks(markdown: &str) -> (Vec<Block>, Vec<Range<usize>>) {
    let mut found: Vec<(usize, Kind)> = Vec::new();
    let mut uncut = Vec::new();
    let mut depth = 0usize;
    let mut in_top_list = false;
    let mut in_heading = false;
    for (event, range) in Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if matches!(tag, Tag::CodeBlock(_)) {
                    uncut.push(range.clone());
                }
                let is_block = depth == 0 || (depth == 1 && in_top_list);
                match tag {
                    _ if !is_block => {}
                    Tag::List(_) if depth == 0 => in_top_list = true,
                    Tag::Heading { level, .. } if depth == 0 => {
                        in_heading = true;
                        found.push((
                            range.start,
                            Kind::Heading { level: level as usize, text: String::new() },
                        ));
                    }
                    Tag::CodeBlock(_) => found.push((range.start, Kind::Code)),
                    Tag::Paragraph => found.push((range.start, Kind::Paragraph)),
                    _ => found.push((range.start, Kind::Lines)),
                }
                depth += 1;
            }
            Event::End(tag) => {
                depth -= 1;
                if depth == 0 {
                    in_top_list = false;
                }
                if matches!(tag, TagEnd::Heading(_)) {
                    in_heading = false;
                }
            }
            Event::Text(piece) | Event::Code(piece) if in_heading => {
                if let Some((_, Kind::Heading { text, .. })) = found.last_mut() {
                    text.push_str(&piece);
                }
            }
            Event::SoftBreak | Event::HardBreak if in_heading => {
                if let Some((_, Kind::Heading { text, .. })) = found.last_mut() {
                    text.push(' ');
                }
            }
            Event::Rule if depth == 0 => found.push((range.start, Kind::Lines)),
            _ => {}
        }
    }
    // Text that the parser gives no event for (link definitions) belongs to the block before it.
    if found.first().is_none_or(|(start, _)| !markdown[..*start].trim().is_empty()) {
        found.insert(0, (0, Kind::Lines));
    }
    found[0].0 = 0;
    let ends: Vec<usize> = found.iter().skip(1).map(|(start, _)| *start).chain([markdown.len()]).collect();
    let blocks = found.into_iter().zip(ends).map(|((start, kind), end)| {
        let kind = match kind {
            Kind::Heading { level, text } => Kind::Heading { level, text: shorten(&text) },
            other => other,
        };
        Block { range: start..end, kind }
    });
    (blocks.collect(), uncut)
}
