//! Questions in plain words: read, searched, answered.

mod clock;
mod moment;
mod names;
mod question;
mod terms;
#[cfg(test)]
mod tests;
mod vocabulary;
mod when;
mod words;

pub use clock::{Clock, TimeRange};
pub use question::{Condition, Question, Said, Span, Term, TermKind, Understood};
pub use vocabulary::{Field, Vocabulary};
