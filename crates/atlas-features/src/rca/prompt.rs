//! The question, with the evidence fenced.
//!
//! Evidence is written by strangers: a log line can say anything, also "ignore the instructions
//! above". Each item stands between markers with a number that is made for this request and
//! occurs in no item, so that no text can end its own fence.

use atlas_domain::Incident;
use atlas_inference::{ChatRequest, Message, Output};

use super::answer;
use super::pack::Pack;
use super::render;
use crate::ids;

const SYSTEM: &str = include_str!("prompts/system.md");
const USER: &str = include_str!("prompts/user.md");

pub(super) fn chat(incident: &Incident, pack: &Pack, answer_tokens: u32) -> ChatRequest {
    let incident = render::subject(incident);
    let texts = || pack.evidence.iter().map(|item| item.text.as_str()).chain([incident.as_str()]);
    let boundary = boundary("evidence", texts);
    let user = fill(
        USER,
        &[
            ("boundary", &boundary),
            ("incident", &incident),
            ("evidence", &fenced(pack, &boundary)),
            ("omitted", &omitted(pack)),
        ],
    );
    ChatRequest {
        messages: vec![Message::system(fill(SYSTEM, &[("boundary", &boundary)])), Message::user(user)],
        output: Output::Schema(answer::schema()),
        max_output_tokens: Some(answer_tokens),
        // The same evidence should give the same answer.
        temperature: Some(0.0),
        ..ChatRequest::default()
    }
}

/// A marker of this kind that none of the texts contains.
pub(crate) fn boundary<'a, I: Iterator<Item = &'a str>>(kind: &str, texts: impl Fn() -> I) -> String {
    loop {
        let boundary = format!("{kind}-{:016x}", ids::random());
        if !texts().any(|text| text.contains(&boundary)) {
            return boundary;
        }
    }
}

/// A text that no text can end.
pub(crate) fn fence(boundary: &str, id: &str, text: &str) -> String {
    format!("<<< begin {boundary} {id}\n{text}\n>>> end {boundary}")
}

fn fenced(pack: &Pack, boundary: &str) -> String {
    if pack.evidence.is_empty() {
        return "(there is none: nothing was found around this time, so the verdict is inconclusive)".into();
    }
    let items = pack.evidence.iter().map(|item| fence(boundary, &item.id, &item.text));
    items.collect::<Vec<_>>().join("\n\n")
}

fn omitted(pack: &Pack) -> String {
    match pack.omitted.len() {
        0 => String::new(),
        more => format!("{more} further items were found and are not shown, because they do not fit.\n"),
    }
}

/// Fills `{{name}}` in one pass over the template, so that a filled-in text is never read as a
/// template itself.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        filled.push_str(before);
        let Some((name, following)) = after[2..].split_once("}}") else {
            rest = after;
            break;
        };
        let value = values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        filled.push_str(value.expect("the templates name only what is filled in"));
        rest = following;
    }
    filled.push_str(rest);
    filled
}
