//! The inference path: admit, route, clear, call, stream, validate, audit.
