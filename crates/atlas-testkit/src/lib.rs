//! Contract suites and scripted fakes. Dev-dependency only.
