//! What a model thinks aloud.

use atlas_llm::ChatEvent;

/// Separates `<think>…</think>` at the start of an answer. Only there: an answer may speak about
/// the tag.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    state: State,
    /// Text that may still turn out to be (a part of) a tag.
    held: String,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Start,
    Inside,
    /// Between the closing tag and the first character of the answer.
    Gap,
    Answer,
}

impl Thoughts {
    pub(super) fn split(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        const OPEN: &str = "<think>";
        const CLOSE: &str = "</think>";
        if text.is_empty() {
            return;
        }
        self.held.push_str(text);
        loop {
            match self.state {
                State::Start => {
                    let begun = self.held.trim_start();
                    if let Some(rest) = begun.strip_prefix(OPEN) {
                        self.held = rest.to_owned();
                        self.state = State::Inside;
                    } else if OPEN.starts_with(begun) {
                        return;
                    } else {
                        self.state = State::Answer;
                    }
                }
                State::Inside => {
                    if let Some(at) = self.held.find(CLOSE) {
                        push_reasoning(&self.held[..at], events);
                        self.held.drain(..at + CLOSE.len());
                        self.state = State::Gap;
                    } else {
                        let keep =
                            (1..CLOSE.len()).rev().find(|n| self.held.ends_with(&CLOSE[..*n])).unwrap_or(0);
                        let rest = self.held.split_off(self.held.len() - keep);
                        push_reasoning(&std::mem::replace(&mut self.held, rest), events);
                        return;
                    }
                }
                State::Gap => {
                    self.held = self.held.trim_start().to_owned();
                    if self.held.is_empty() {
                        return;
                    }
                    self.state = State::Answer;
                }
                State::Answer => {
                    if !self.held.is_empty() {
                        events.push(ChatEvent::Text(std::mem::take(&mut self.held)));
                    }
                    return;
                }
            }
        }
    }

    /// Nothing more comes: what was held was no tag.
    pub(super) fn flush(&mut self, events: &mut Vec<ChatEvent>) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Inside => push_reasoning(&held, events),
            State::Start | State::Gap | State::Answer if !held.is_empty() => {
                events.push(ChatEvent::Text(held))
            }
            State::Start | State::Gap | State::Answer => {}
        }
    }
}

pub(super) fn push_reasoning(text: &str, events: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        events.push(ChatEvent::Reasoning(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, thought: &str, answer: &str) {
        for piece_bytes in [1, 3, said.len()] {
            let (mut thoughts, mut events) = (Thoughts::default(), Vec::new());
            for piece in said.as_bytes().chunks(piece_bytes) {
                thoughts.split(std::str::from_utf8(piece).expect("ASCII"), &mut events);
            }
            thoughts.flush(&mut events);
            let (mut seen, mut text) = (String::new(), String::new());
            for event in events {
                match event {
                    ChatEvent::Reasoning(piece) => seen += &piece,
                    ChatEvent::Text(piece) => text += &piece,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((seen.as_str(), text.as_str()), (thought, answer), "{said}");
        }
    }

    #[test]
    fn thoughts_in_tags_are_no_part_of_the_answer() {
        check("<think>Hm, a < b.</think>\n\nForty-two.", "Hm, a < b.", "Forty-two.");
        check("  <think>x</think>", "x", "");
        check("<think>never closed", "never closed", "");
    }

    #[test]
    fn an_answer_may_speak_about_the_tag() {
        check("The tag <think> is text here.", "", "The tag <think> is text here.");
        check("<thin", "", "<thin");
    }
}
