//! Wiring, HTTP API and command line of atlasai-tp.
