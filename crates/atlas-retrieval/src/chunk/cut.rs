//! Cutting a section that is too long.

use std::ops::Range;

use atlas_embed::TokenCounter;

use super::outline::{Kind, Section};

/// Where a block may be cut, from the best place to the worst.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Lines,
    Sentences,
    Words,
    Characters,
}

/// Consecutive ranges that partition the section, each within `room` tokens where its content
/// allows it.
pub(super) fn parts(
    markdown: &str,
    section: &Section,
    uncut: &[Range<usize>],
    counter: &dyn TokenCounter,
    room: usize,
) -> Vec<Range<usize>> {
    let cutter = Cutter { markdown, uncut, counter, room };
    let mut units: Vec<(Range<usize>, usize)> = Vec::new();
    // Headings stay with what follows them.
    let mut heading_start = None;
    for block in &section.blocks {
        let start = *heading_start.get_or_insert(block.range.start);
        let glued = start..block.range.start;
        match block.kind {
            Kind::Heading { .. } => continue,
            Kind::Code => units.push(cutter.counted(start..block.range.end)),
            Kind::Paragraph => cutter.cut(start..block.range.end, &glued, Grade::Sentences, &mut units),
            Kind::Lines => cutter.cut(start..block.range.end, &glued, Grade::Lines, &mut units),
        }
        heading_start = None;
    }
    if let Some(start) = heading_start {
        units.push(cutter.counted(start..section.range().end));
    }
    pack(units, room)
}

/// Fills each part with as many units as fit.
fn pack(units: Vec<(Range<usize>, usize)>, room: usize) -> Vec<Range<usize>> {
    let mut parts: Vec<(Range<usize>, usize)> = Vec::new();
    for (range, n_tokens) in units {
        match parts.last_mut() {
            Some((part, filled)) if *filled + n_tokens <= room => {
                part.end = range.end;
                *filled += n_tokens;
            }
            _ => parts.push((range, n_tokens)),
        }
    }
    parts.into_iter().map(|(range, _)| range).collect()
}

struct Cutter<'a> {
    markdown: &'a str,
    uncut: &'a [Range<usize>],
    counter: &'a dyn TokenCounter,
    room: usize,
}

impl Cutter<'_> {
    fn counted(&self, range: Range<usize>) -> (Range<usize>, usize) {
        let n_tokens = self.counter.count_tokens(&self.markdown[range.clone()]);
        (range, n_tokens)
    }

    /// Appends `range` as it is when it fits, else its pieces.
    fn cut(
        &self,
        range: Range<usize>,
        glued: &Range<usize>,
        grade: Grade,
        units: &mut Vec<(Range<usize>, usize)>,
    ) {
        let (range, n_tokens) = self.counted(range);
        if n_tokens <= self.room {
            units.push((range, n_tokens));
            return;
        }
        let next = match grade {
            Grade::Lines => Grade::Sentences,
            Grade::Sentences => Grade::Words,
            Grade::Words | Grade::Characters => Grade::Characters,
        };
        let mut start = range.start;
        let mut cut_any = false;
        let points = self.points(&range, grade);
        for point in points.into_iter().filter(|point| self.may_cut(*point, glued)) {
            self.cut(start..point, glued, next, units);
            start = point;
            cut_any = true;
        }
        if cut_any || grade != Grade::Characters {
            self.cut(start..range.end, glued, next, units);
        } else {
            units.push((range, n_tokens));
        }
    }

    fn may_cut(&self, point: usize, glued: &Range<usize>) -> bool {
        let in_heading = glued.start < point && point <= glued.end;
        // `uncut` is in the order of the document and does not overlap.
        let after = self.uncut.partition_point(|code| code.end <= point);
        let in_code = self.uncut.get(after).is_some_and(|code| code.start < point);
        !in_heading && !in_code
    }

    /// Where pieces after the first begin, ascending, strictly inside the range.
    fn points(&self, range: &Range<usize>, grade: Grade) -> Vec<usize> {
        let text = &self.markdown[range.clone()];
        let inside = |at: &usize| 0 < *at && *at < text.len();
        let after = |ends: fn(char, char) -> bool| {
            let pairs = text.char_indices().zip(text.chars().skip(1));
            pairs.filter(move |((_, c), next)| ends(*c, *next)).map(|((at, c), _)| at + c.len_utf8())
        };
        let points: Vec<usize> = match grade {
            Grade::Lines => after(|c, _| c == '\n').collect(),
            Grade::Sentences => after(|c, next| {
                matches!(c, '。' | '!' | '?') || (matches!(c, '.' | ';' | ':') && next.is_whitespace())
            })
            .collect(),
            Grade::Words => after(|c, next| c.is_whitespace() && !next.is_whitespace()).collect(),
            // Half by half: a text without spaces is rare, and its tokens are known by counting only.
            Grade::Characters => vec![text.floor_char_boundary(text.len() / 2)],
        };
        points.into_iter().filter(inside).map(|at| range.start + at).collect()
    }
}
