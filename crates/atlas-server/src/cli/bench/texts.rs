//! The texts of a bench: named lists in a JSON object, or the lines of a file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde_json::{Deserializer, Value};

/// Texts that are measured together.
#[derive(Debug, PartialEq)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) texts: Vec<String>,
}

/// Reads and checks the whole file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Workload>> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    let name = path.file_stem().map_or_else(|| shown.clone(), |stem| stem.to_string_lossy().into_owned());
    parse(&bytes, &shown, name)
}

fn parse(bytes: &[u8], shown: &str, name: String) -> anyhow::Result<Vec<Workload>> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        anyhow!("{shown}, line {line}: not UTF-8")
    })?;
    let workloads = match is_one_object(text, shown)? {
        true => named(text, shown)?,
        false => {
            let texts = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
            vec![Workload { name, texts }]
        }
    };
    if workloads.is_empty() {
        bail!("{shown} names no workload");
    }
    if let Some(empty) = workloads.iter().find(|workload| workload.texts.is_empty()) {
        bail!("{shown} holds no texts for {}", empty.name);
    }
    Ok(workloads)
}

/// Logs are lines of JSON, too: a file with something after its first object is lines.
fn is_one_object(text: &str, shown: &str) -> anyhow::Result<bool> {
    if !text.trim_start().starts_with('{') {
        return Ok(false);
    }
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    values.next().transpose().map_err(|error| at_line(shown, &error))?;
    Ok(text[values.byte_offset()..].trim().is_empty())
}

fn named(text: &str, shown: &str) -> anyhow::Result<Vec<Workload>> {
    let lists: BTreeMap<String, Vec<String>> =
        serde_json::from_str(text).map_err(|error| at_line(shown, &error))?;
    Ok(lists.into_iter().map(|(name, texts)| Workload { name, texts }).collect())
}

fn at_line(shown: &str, error: &serde_json::Error) -> anyhow::Error {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    anyhow!(
        "{shown}, line {}: {words}; a workload file is an object of names to lists of texts, or plain lines",
        error.line()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, expected: &[(&str, &[&str])]) {
        let found = parse(file.as_bytes(), "f.json", "f".into()).expect("reads");
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|workload| (workload.name.as_str(), workload.texts.iter().map(String::as_str).collect()))
            .collect();
        let expected: Vec<(&str, Vec<&str>)> =
            expected.iter().map(|(name, texts)| (*name, texts.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_refused(file: &[u8], words: &[&str]) {
        let error = parse(file, "f.json", "f".into()).expect_err("refused").to_string();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn an_object_names_workloads_and_anything_else_is_lines() {
        check(r#"{"W2": ["b", "c"], "W1": ["a\n"]}"#, &[("W1", &["a\n"]), ("W2", &["b", "c"])]);
        check("disk full\n\n  node down\r\n", &[("f", &["disk full", "  node down"])]);
        check("{\"level\":\"warn\"}\n{\"level\":1}\n", &[("f", &["{\"level\":\"warn\"}", "{\"level\":1}"])]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        check_refused(b"{\n\"W1\": [\"a\"\n", &["f.json, line 3"]);
        check_refused(b"{\n\"W1\": [\"a\", 1]}", &["f.json, line 2", "names to lists"]);
        check_refused(b"one\ntwo\n\xff\n", &["f.json, line 3", "UTF-8"]);
        check_refused(b"{\"W1\": []}", &["f.json", "no texts for W1"]);
        check_refused(b"{}", &["f.json", "no workload"]);
        check_refused(b"\n", &["f.json", "no texts"]);
    }
}
