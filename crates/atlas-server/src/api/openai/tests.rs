//! What is read of a request, and what is written of an answer; no server.

mod answers;
mod requests;
