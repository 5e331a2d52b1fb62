//! Contract suites and scripted fakes. Dev-dependency only.
//!
//! A fake is stricter than the real thing: it fails the test when it is asked more than it was
//! told to answer.

pub mod fake_embedder;
pub mod fake_openai;
#[cfg(unix)]
pub mod faulty_disk;
pub mod postgres;
pub mod scripted_model;
pub mod store_suite;
