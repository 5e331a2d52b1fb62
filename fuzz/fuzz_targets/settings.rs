//! Any text is a file of settings: it is read, or refused in words.

#![no_main]

use std::fs;

use atlas_config::{Live, Overrides, Sources};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let file = dir.path().join("settings.env");
    fs::write(&file, text).expect("written");
    let file = file.to_str().expect("UTF-8");
    match Live::start(Sources::new([("TP_ENV_FILE", file)]), Overrides::default()) {
        Ok(live) => drop(live.status()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
