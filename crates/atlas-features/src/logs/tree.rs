//! From shapes to templates: shapes that differ only where a value stands become one.
//!
//! Masking sees one line and knows numbers and addresses; that a plain word is a value shows only
//! when others have stood in its place. Shapes are sorted into leaves by their number of tokens
//! and their first one (Drain's tree), and a new shape is compared with the templates of its leaf:
//!
//! - Where both have a placeholder, or one has nothing (`(<host>)` and `()`), they are one.
//! - Where one has a placeholder and the other a word (`code <num>`, `code unknown`), they are one
//!   if that is all they differ in.
//! - Where both have words they stay two, until so many have stood in the same place that it is
//!   no list of states: then all of them are one. A name made of several words
//!   (`org.apache.Foo`) is a value sooner than a plain word.
//!
//! A template has the id of its first shape for ever; its shape only widens, and templates that
//! became one go by the oldest. The shapes are all there is to restore: what is placed next
//! depends on nothing else.

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;

use std::collections::HashMap;

use atlas_domain::RecordId;

use super::mask::placeholder_at;
use crate::ids;

/// Names made of several words that make their place a value's. On eight public systems 3 to 5
/// group alike, and 6 and more leave apart what one of them (Mac) prints with six names.
const NAMES: usize = 5;

/// The same for plain words: states, verbs and levels are fewer. From 6 on nothing changes there;
/// at 4 the states of a virtual machine would be values.
const WORDS: usize = 12;

/// Equal words that a statement needs, so that two are one although a word stands for a value.
const EQUAL_WORDS: usize = 3;

/// Templates of a leaf that a new shape is compared with, newest first: what is compared with
/// every line must not grow with what was ever seen.
const COMPARED: usize = 512;

/// Most templates. A tenant with more writes text, not log lines; the rest share [`ANY`].
const MOST_TEMPLATES: usize = 20_000;

/// Shapes remembered as they stood, which most lines are found by.
const MOST_KNOWN: usize = 100_000;

/// What stands for a value of any kind.
const ANY: &str = "<*>";

/// The templates of one tenant.
#[derive(Debug, Default)]
pub(super) struct Tree {
    templates: Vec<Template>,
    /// Numbers of templates that are part of no other.
    leaves: HashMap<Leaf, Vec<usize>>,
    known: HashMap<String, usize>,
}

#[derive(Debug)]
struct Template {
    id: RecordId,
    tokens: Vec<String>,
    /// The template that took this one in.
    part_of: Option<usize>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Leaf {
    n_tokens: usize,
    /// The first token, where it is a plain word.
    first: Option<String>,
}

/// The place of a shape.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Placed {
    /// Its template.
    pub(super) number: usize,
    /// Templates that became part of this one just now.
    pub(super) took_in: Vec<usize>,
}

impl Tree {
    /// Takes back a template as it was stored. Older ones first.
    pub(super) fn restore(&mut self, id: RecordId, shape: &str) {
        let tokens = tokens(shape);
        let leaf = Leaf::of(&tokens);
        self.leaves.entry(leaf).or_default().push(self.templates.len());
        self.templates.push(Template { id, tokens, part_of: None });
    }

    /// Finds or makes the template of a shape.
    pub(super) fn place(&mut self, shape: &str) -> Placed {
        if let Some(known) = self.known.get(shape) {
            return Placed { number: self.whole(*known), took_in: Vec::new() };
        }
        let placed = self.compare(shape);
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(shape.to_owned(), placed.number);
        placed
    }

    /// The template that goes by now for one that was given out earlier.
    pub(super) fn whole(&self, mut number: usize) -> usize {
        while let Some(whole) = self.templates[number].part_of {
            number = whole;
        }
        number
    }

    /// The id of a template, the same for ever.
    pub(super) fn id(&self, number: usize) -> &RecordId {
        &self.templates[number].id
    }

    /// The shape of a template as it is now.
    pub(super) fn shape(&self, number: usize) -> String {
        self.templates[number].tokens.join(" ")
    }

    fn compare(&mut self, shape: &str) -> Placed {
        let tokens = tokens(shape);
        let leaf = Leaf::of(&tokens);
        let members = self.leaves.get(&leaf).map_or(&[][..], Vec::as_slice);
        let mut names = Vec::new();
        let mut words: HashMap<usize, Vec<usize>> = HashMap::new();
        for number in members.iter().rev().take(COMPARED).copied() {
            match likeness(&self.templates[number].tokens, &tokens) {
                Likeness::Same => {
                    widen(&mut self.templates[number].tokens, &tokens);
                    return Placed { number, took_in: Vec::new() };
                }
                Likeness::Names => names.push(number),
                Likeness::WordAt(place) => words.entry(place).or_default().push(number),
                Likeness::None => {}
            }
        }
        let crowd = [(names, NAMES)].into_iter().chain(words.into_values().map(|alike| (alike, WORDS)));
        // With the new one they are so many; of two such places the older crowd wins.
        let crowd = crowd.filter(|(alike, enough)| alike.len() + 1 >= *enough).map(|(alike, _)| alike);
        match crowd.min_by_key(|alike| alike.iter().min().copied()) {
            Some(crowd) => self.unite(leaf, crowd, &tokens),
            None => Placed { number: self.add(leaf, tokens), took_in: Vec::new() },
        }
    }

    fn add(&mut self, leaf: Leaf, tokens: Vec<String>) -> usize {
        if self.templates.len() >= MOST_TEMPLATES && tokens != [ANY] {
            return self.place(ANY).number;
        }
        let id = ids::derived("tpl-", &[tokens.join(" ").as_bytes()]);
        let number = self.templates.len();
        self.leaves.entry(leaf).or_default().push(number);
        self.templates.push(Template { id, tokens, part_of: None });
        number
    }

    /// Makes the oldest of `crowd` the template of all of them.
    fn unite(&mut self, leaf: Leaf, mut crowd: Vec<usize>, tokens: &[String]) -> Placed {
        crowd.sort_unstable();
        let (oldest, took_in) = (crowd[0], crowd.split_off(1));
        let mut whole = std::mem::take(&mut self.templates[oldest].tokens);
        for number in &took_in {
            let part = &mut self.templates[*number];
            part.part_of = Some(oldest);
            widen(&mut whole, &std::mem::take(&mut part.tokens));
        }
        widen(&mut whole, tokens);
        self.templates[oldest].tokens = whole;
        self.leaves.entry(leaf).or_default().retain(|number| !took_in.contains(number));
        Placed { number: oldest, took_in }
    }
}

impl Leaf {
    fn of(tokens: &[String]) -> Self {
        let word =
            |token: &&String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphabetic());
        Self { n_tokens: tokens.len(), first: tokens.first().filter(word).cloned() }
    }
}

fn tokens(shape: &str) -> Vec<String> {
    shape.split(' ').map(str::to_owned).collect()
}

/// How a shape relates to a template of its leaf.
#[derive(Debug, PartialEq)]
enum Likeness {
    /// They are one.
    Same,
    /// They differ in names made of several words.
    Names,
    /// They differ in one word, at this token.
    WordAt(usize),
    None,
}

fn likeness(template: &[String], shape: &[String]) -> Likeness {
    let (mut equal_words, mut values, mut mixed, mut names, mut word) = (0, 0, 0, 0, None);
    for (place, (old, new)) in template.iter().zip(shape).enumerate() {
        if old == new {
            equal_words += usize::from(says_something(old));
            continue;
        }
        match difference(old, new) {
            Difference::Value => values += 1,
            Difference::Mixed => mixed += 1,
            Difference::Name => names += 1,
            Difference::Word if word.is_none() => word = Some(place),
            Difference::Word | Difference::Fields => return Likeness::None,
        }
    }
    match (mixed, names, word) {
        // Two lines of nothing but values have nothing in common.
        _ if equal_words == 0 => Likeness::None,
        (0, 0, None) => Likeness::Same,
        (1, 0, None) if values == 0 && equal_words >= EQUAL_WORDS => Likeness::Same,
        (0, 1.., None) if names <= equal_words => Likeness::Names,
        (0, 0, Some(place)) if equal_words > 1 => Likeness::WordAt(place),
        _ => Likeness::None,
    }
}

/// Two letters outside a placeholder.
fn says_something(token: &str) -> bool {
    !token.starts_with('<') && token.bytes().filter(u8::is_ascii_alphabetic).nth(1).is_some()
}

/// What two tokens differ in.
enum Difference {
    Value,
    Mixed,
    Name,
    Word,
    /// In several fields of a line that is written without spaces.
    Fields,
}

fn difference(old: &str, new: &str) -> Difference {
    let (old, new) = middles(old, new);
    if !(is_one_field(old) && is_one_field(new)) {
        return Difference::Fields;
    }
    match (has_value(old), has_value(new)) {
        _ if old.contains(ANY) => Difference::Value,
        (true, true) => Difference::Value,
        (true, false) if new.is_empty() => Difference::Value,
        (false, true) if old.is_empty() => Difference::Value,
        (true, false) | (false, true) => Difference::Mixed,
        (false, false) if is_name(old) && is_name(new) => Difference::Name,
        (false, false) => Difference::Word,
    }
}

fn is_one_field(text: &str) -> bool {
    !text.contains(['"', ',', '=', '{', '}', ';', '&', '|'])
}

fn has_value(text: &str) -> bool {
    text.match_indices('<')
        .any(|(at, _)| text[at..].starts_with(ANY) || placeholder_at(&text[at..]).is_some())
}

/// Made of two words and more.
fn is_name(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).nth(1).is_some()
}

/// What is left of two tokens without their common begin and end; words stay whole.
fn middles<'t>(one: &'t str, other: &'t str) -> (&'t str, &'t str) {
    let (atoms, others) = (atoms(one), atoms(other));
    let begin = atoms.iter().zip(&others).take_while(|(a, b)| a == b).count();
    let (atoms, others) = (&atoms[begin..], &others[begin..]);
    let end = atoms.iter().rev().zip(others.iter().rev()).take_while(|(a, b)| a == b).count();
    let middle = |whole: &'t str, atoms: &[&str]| {
        let length = |atoms: &[&str]| atoms.iter().map(|atom| atom.len()).sum::<usize>();
        let (middle, tail) = atoms.split_at(atoms.len() - end);
        let until = whole.len() - length(tail);
        &whole[until - length(middle)..until]
    };
    (middle(one, atoms), middle(other, others))
}

/// Placeholders, words and single marks.
fn atoms(text: &str) -> Vec<&str> {
    let mut atoms = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with(ANY) {
            ANY.len()
        } else if let Some(placeholder) = placeholder_at(rest) {
            placeholder.len()
        } else if first.is_alphanumeric() {
            rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (atom, after) = rest.split_at(length);
        atoms.push(atom);
        rest = after;
    }
    atoms
}

/// Puts [`ANY`] where `other` differs.
fn widen(tokens: &mut [String], other: &[String]) {
    for (token, other) in tokens.iter_mut().zip(other) {
        if token != other {
            let (middle, _) = middles(token, other);
            if middle != ANY {
                let begin = middle.as_ptr().addr() - token.as_ptr().addr();
                let wide = format!("{}{ANY}{}", &token[..begin], &token[begin + middle.len()..]);
                *token = wide;
            }
        }
    }
}
