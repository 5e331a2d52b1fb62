use atlas_domain::RecordId;

use super::{from_markdown, front_matter};
use crate::error::FeatureError;

fn id(id: &str) -> RecordId {
    RecordId::new(id).expect("an id")
}

#[track_caller]
fn check_title(file: &str, text: &str, expect: &str) {
    assert_eq!(from_markdown(id(file), text, None).expect("a runbook").title, expect);
}

#[test]
fn the_title_is_from_front_matter_then_heading_then_file_name() {
    check_title("a.md", "---\ntitle: \"Pool: empty\"\n---\n# Other\ntext", "Pool: empty");
    check_title("a.md", "intro\n\n## Pool empty ##\ntext", "Pool empty");
    check_title("a.md", "Pool empty\n===\ntext", "Pool empty");
    check_title("kube/pod-crash_looping.md", "only text", "pod crash looping");
    check_title("a-b.md", "```\n# a comment\n```\n", "a b");
}

#[test]
fn front_matter_gives_fields_and_labels_and_leaves_the_text() {
    let text = "---\n\
        title: Disk full   # shown in lists\n\
        service: 'search'\n\
        url: https://wiki.example/disk\n\
        Team: storage\n\
        tags: [disk, \"node\"]\n\
        alerts:\n  - NodeDiskFull\n  - NodeDiskFilling\n\
        labels:\n  tier: backend\n\
        ---\n\n# Heading\nBody\n";
    let runbook = from_markdown(id("disk.md"), text, Some("import".into())).expect("a runbook");
    assert_eq!(runbook.title, "Disk full");
    assert_eq!(runbook.service.as_deref(), Some("search"));
    assert_eq!(runbook.url.as_deref(), Some("https://wiki.example/disk"));
    assert_eq!(runbook.source.as_deref(), Some("import"));
    assert_eq!(runbook.markdown, "# Heading\nBody\n");
    let labels: Vec<(&str, &str)> = runbook.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expect = [
        ("alerts", "NodeDiskFull,NodeDiskFilling"),
        ("tags", "disk,node"),
        ("team", "storage"),
        ("tier", "backend"),
    ];
    assert_eq!(labels, expect);
}

#[test]
fn what_is_no_front_matter_is_text() {
    for text in ["# A\n---\nb: c\n---\n", "---\nnever closed", "----\na: b\n----\n", "text\n---\n"] {
        assert_eq!(front_matter::split(text).body, text);
    }
}

#[test]
fn odd_front_matter_never_fails() {
    for head in
        ["", ":", "a", "- x", "a:\n\t- b\n\t\tc: d", "\u{feff}", "a: [", "a: \"b", "labels:\n  no colon"]
    {
        let text = format!("---\n{head}\n---\nbody");
        assert_eq!(front_matter::split(&text).body, "body", "{head:?}");
    }
    assert_eq!(front_matter::split("\u{feff}---\r\ntitle: x\r\n---\r\nbody").keys["title"], "x");
}

#[test]
fn an_empty_runbook_is_refused() {
    for text in ["", "   \n", "---\ntitle: x\n---\n"] {
        let error = from_markdown(id("a"), text, None).expect_err("nothing to read");
        assert!(matches!(&error, FeatureError::Invalid { field, .. } if field == "markdown"), "{error}");
    }
}
