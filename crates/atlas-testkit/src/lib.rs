//! Contract suites and scripted fakes. Dev-dependency only.

pub mod store_suite;

pub mod fake_openai;
pub mod scripted_model;
