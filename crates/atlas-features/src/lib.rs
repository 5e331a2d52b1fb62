//! Root cause analysis, alert grouping, log templates.
