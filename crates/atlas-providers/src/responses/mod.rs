//! OpenAI's Responses API: its bodies and its events.
//!
//! The newest models take tools nowhere else. The `openai` folder decides which of its two APIs a
//! model gets, and sends; here is only what differs.
//!
//! | asked for | sent |
//! |---|---|
//! | `stop`, `seed` | nothing: there are none |
//! | fewer than 16 tokens | 16, the least that is accepted |
//! | `temperature`, `top_p` | to models that are known to accept them |
//! | a failed tool | its words after `Error:` |
//!
//! Nothing is stored over there. What a model thought comes back to us encrypted and returns with
//! the results of its calls, as a continuation.

mod request;
mod stream;

#[cfg(test)]
mod tests;

pub(crate) use request::body;
pub(crate) use stream::Reader;

/// Whose [`atlas_llm::Continuation`]s are sent back.
const DIALECT: &str = "responses";
