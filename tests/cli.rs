//! The command line, as a script uses it.

mod common;

use common::{atlasai, data_dir, run, stderr_of_failure, stdout_of};
use serde_json::Value;

#[test]
fn embed_answers_one_unit_vector_a_line_in_order() {
    let data = data_dir();
    let lines = stdout_of(
        atlasai(data.path()).args(["embed", "--json"]),
        "disk is full\n\nthe disk has no space left\nkettle\n",
    );
    let vectors: Vec<Vec<f32>> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a JSON array")).collect();
    assert_eq!(vectors.iter().map(Vec::len).collect::<Vec<_>>(), [384; 4]);
    let dot = |a: usize, b: usize| vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum::<f32>();
    for line in 0..4 {
        assert!((dot(line, line) - 1.0).abs() < 1e-4, "line {line} is of unit length");
    }
    assert!(dot(0, 2) > dot(0, 3) + 0.2, "meaning, not position, makes vectors near");
}

#[test]
fn embed_of_nothing_is_nothing() {
    let data = data_dir();
    assert_eq!(stdout_of(atlasai(data.path()).arg("embed"), ""), "");
}

#[test]
fn what_is_imported_is_found_by_meaning_and_by_name() {
    let data = data_dir();
    let runbooks = data_dir();
    std::fs::write(
        runbooks.path().join("DiskFull.md"),
        "# DiskFull\n\n## Meaning\n\nNo free space is left on the volume.\n\n## Mitigation\n\nDelete old snapshots.\n",
    )
    .expect("written");
    std::fs::write(
        runbooks.path().join("CertExpiry.md"),
        "# CertExpiry\n\n## Meaning\n\nA TLS certificate ends soon.\n\n## Mitigation\n\nRenew it with the issuer.\n",
    )
    .expect("written");
    let path = runbooks.path().to_str().expect("UTF-8");
    stdout_of(atlasai(data.path()).args(["import", "runbooks", path]), "");

    for (query, expected) in [("storage ran out of room", "DiskFull.md"), ("CertExpiry", "CertExpiry.md")] {
        let answer = stdout_of(atlasai(data.path()).args(["search", query, "--json"]), "");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["hits"][0]["id"], expected, "{query}: {answer}");
        assert_eq!(answer["degraded"], serde_json::json!([]), "{query}");
    }

    let question = "how is a certificate renewed, in runbooks of today?";
    let answer = stdout_of(atlasai(data.path()).args(["ask", question, "--json"]), "");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["passages"][0]["id"], "CertExpiry.md", "{answer}");
    assert_eq!(answer["answered_by"], "retrieval");
    assert_eq!(answer["understood"]["time"]["phrase"], "today", "{answer}");
    let shown = stdout_of(atlasai(data.path()).args(["ask", "storage ran out of room since yesterday"]), "");
    assert!(shown.contains("(only: since ") && shown.contains("P1 [runbooks]"), "{shown}");
    let error =
        stderr_of_failure(atlasai(data.path()).args(["ask", "x", "--utc-offset", "Europe/Berlin"]), "");
    assert!(error.contains("utc_offset"), "{error}");
}

#[test]
fn a_folder_with_a_file_that_is_not_utf8_imports_nothing() {
    let data = data_dir();
    let runbooks = data_dir();
    std::fs::write(runbooks.path().join("a.md"), "# Good\n\nWords.\n").expect("written");
    std::fs::write(runbooks.path().join("b.md"), b"# Bad\n\n\xff\xfe\n").expect("written");
    let path = runbooks.path().to_str().expect("UTF-8");
    let error = stderr_of_failure(atlasai(data.path()).args(["import", "runbooks", path]), "");
    assert!(error.contains("b.md, line 3: not UTF-8"), "{error}");
    let answer = stdout_of(atlasai(data.path()).args(["search", "good words", "--json"]), "");
    assert_eq!(serde_json::from_str::<Value>(&answer).expect("JSON")["hits"], serde_json::json!([]));
}

#[test]
fn an_incident_without_its_title_names_line_and_field() {
    let data = data_dir();
    let file = data.path().join("incidents.jsonl");
    std::fs::write(&file, "{\"title\":\"one\"}\n{\"description\":\"no title\"}\n").expect("written");
    let error = stderr_of_failure(
        atlasai(&data.path().join("data")).args(["import", "incidents", file.to_str().expect("UTF-8")]),
        "",
    );
    assert!(error.contains("line 2") && error.contains("title"), "{error}");
}

#[test]
fn an_unknown_tenant_in_a_search_says_how_to_make_one() {
    let data = data_dir();
    let error = stderr_of_failure(atlasai(data.path()).args(["search", "x", "--tenant", "acme"]), "");
    assert!(error.contains("acme") && error.contains("import"), "{error}");
}

#[test]
fn bad_arguments_end_with_code_2_and_a_usage_line() {
    let data = data_dir();
    let output = run(atlasai(data.path()).args(["import", "wishes", "x"]), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("runbooks"), "the possible values are listed");
}

#[test]
fn help_of_every_command_has_text() {
    let data = data_dir();
    for command in ["serve", "import", "search", "ask", "embed", "bench", "eval", "settings"] {
        let help = stdout_of(atlasai(data.path()).args([command, "--help"]), "");
        assert!(help.contains("Usage:"), "{command}: {help}");
    }
}

#[test]
fn every_documented_setting_is_listed() {
    let data = data_dir();
    let listed = stdout_of(atlasai(data.path()).arg("settings"), "");
    for name in [
        "BYOC_PROVIDER",
        "BYOC_API_KEY",
        "BYOC_MODEL",
        "EMBEDDING_PROVIDER",
        "EMBEDDING_PRECISION",
        "ADMIN_TOKEN",
        "TP_DATA_DIR",
    ] {
        assert!(listed.contains(name), "{name} is missing");
    }
}

#[test]
fn a_bench_prints_the_documented_fields_and_writes_every_vector() {
    let data = data_dir();
    let file = data.path().join("workloads.json");
    std::fs::write(
        &file,
        r#"{"short": ["disk full", "node down"], "long": ["the pod restarts after a deploy"]}"#,
    )
    .expect("written");
    let vectors = data.path().join("vectors.jsonl");
    let lines = stdout_of(
        atlasai(data.path())
            .args(["bench", "embed", "--threads", "1", "--precision", "f32", "--reps", "1", "--json"])
            .arg("--texts")
            .arg(&file)
            .arg("--vectors")
            .arg(&vectors),
        "",
    );
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seen: Vec<_> = rows.iter().map(|row| (row["wl"].as_str(), row["texts"].as_u64())).collect();
    assert_eq!(seen, [(Some("long"), Some(1)), (Some("short"), Some(2))]);
    for row in &rows {
        assert_eq!((row["engine"].as_str(), row["threads"].as_u64()), (Some("atlas-f32"), Some(1)), "{row}");
        for figure in ["texts_s", "tokens_s", "p50_ms", "p99_ms", "load_s"] {
            assert!(row[figure].as_f64().is_some_and(|value| value > 0.0), "{figure}: {row}");
        }
        assert!(row.get("rss_mb").is_some(), "{row}");
    }
    assert_eq!(rows[1]["tokens"], 8, "two words and two special tokens, twice");

    let written = std::fs::read_to_string(vectors).expect("written");
    let written: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seen: Vec<_> =
        written.iter().map(|line| (line["workload"].as_str(), line["index"].as_u64())).collect();
    assert_eq!(seen, [(Some("long"), Some(0)), (Some("short"), Some(0)), (Some("short"), Some(1))]);
    assert_eq!(written[0]["vector"].as_array().map(Vec::len), Some(384));
}

#[test]
fn a_bench_of_a_malformed_file_names_file_and_line() {
    let data = data_dir();
    let file = data.path().join("workloads.json");
    let bench = |text: &str| {
        std::fs::write(&file, text).expect("written");
        stderr_of_failure(atlasai(data.path()).args(["bench", "embed", "--texts"]).arg(&file), "")
    };
    let error = bench("{\"W1\": [\"a\",\n 7]}");
    assert!(error.contains("workloads.json, line 2"), "{error}");
    let missing = data.path().join("nothing.txt");
    let error = stderr_of_failure(atlasai(data.path()).args(["bench", "embed", "--texts"]).arg(&missing), "");
    assert!(error.contains("nothing.txt"), "{error}");
    let error = stderr_of_failure(
        atlasai(data.path()).args(["bench", "embed", "--texts", "x", "--precision", "bf16"]),
        "",
    );
    assert!(error.contains("auto, f32, exact, fast, max"), "{error}");
}

#[test]
fn an_evaluation_of_a_malformed_folder_names_file_and_line() {
    let data = data_dir();
    let set = data_dir();
    std::fs::create_dir(set.path().join("qrels")).expect("created");
    std::fs::write(set.path().join("corpus.jsonl"), "{\"_id\":\"a\",\"text\":\"x\"}\nnot json\n")
        .expect("written");
    std::fs::write(set.path().join("queries.jsonl"), "{\"_id\":\"q\",\"text\":\"x\"}\n").expect("written");
    std::fs::write(set.path().join("qrels/test.tsv"), "query-id\tcorpus-id\tscore\nq\ta\t1\n")
        .expect("written");
    let error = stderr_of_failure(
        atlasai(data.path()).args(["eval", "retrieval", set.path().to_str().expect("UTF-8"), "--json"]),
        "",
    );
    assert!(error.contains("corpus.jsonl") && error.contains("2"), "{error}");
}

#[test]
fn an_evaluation_prints_the_documented_fields() {
    let data = data_dir();
    let set = data_dir();
    std::fs::create_dir(set.path().join("qrels")).expect("created");
    std::fs::write(
        set.path().join("corpus.jsonl"),
        "{\"_id\":\"a\",\"title\":\"Disk\",\"text\":\"no space left on device\"}\n{\"_id\":\"b\",\"title\":\"Tea\",\"text\":\"green tea leaves\"}\n",
    )
    .expect("written");
    std::fs::write(set.path().join("queries.jsonl"), "{\"_id\":\"q\",\"text\":\"disk without space\"}\n")
        .expect("written");
    std::fs::write(set.path().join("qrels/test.tsv"), "query-id\tcorpus-id\tscore\nq\ta\t1\n")
        .expect("written");
    for legs in ["lexical", "vector", "hybrid"] {
        let line = stdout_of(
            atlasai(data.path()).args([
                "eval",
                "retrieval",
                set.path().to_str().expect("UTF-8"),
                "--legs",
                legs,
                "--json",
            ]),
            "",
        );
        let report: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(report["ndcg@10"], 1.0, "{legs}: {report}");
        for field in ["mrr@10", "recall@100", "queries", "docs", "p50_ms"] {
            assert!(report[field].is_number(), "{legs}: {field} in {report}");
        }
    }
    let line = stdout_of(
        atlasai(data.path()).args(["eval", "ask", set.path().to_str().expect("UTF-8"), "--json"]),
        "",
    );
    let report: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&report["hit@10"], &report["queries"]), (&serde_json::json!(1.0), &serde_json::json!(1)));
}

#[test]
fn doctor_says_what_does_not_work_and_its_exit_code_does_too() {
    let data = data_dir();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}/v1", closed.local_addr().expect("bound"));
    drop(closed);
    let mut doctor = atlasai(data.path());
    doctor.envs([
        ("EMBEDDING_PROVIDER", "fallback"),
        ("BYOC_PROVIDER", "compatible"),
        ("BYOC_ENDPOINT_URL", endpoint.as_str()),
        ("BYOC_MODEL", "m"),
    ]);
    let output = run(doctor.args(["doctor", "--json"]), "");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let status = |id: &str| {
        let checks = report["checks"].as_array().expect("a list");
        checks.iter().find(|check| check["id"] == id).map_or("absent".into(), |check| check["status"].clone())
    };
    assert_eq!((&report["status"], status("tcp")), (&"failed".into(), "failed".into()), "{report:#}");
    for id in ["storage", "clock", "config", "policy"] {
        assert_eq!(status(id), "passed", "{id} in {report:#}");
    }
    assert_eq!(status("chat"), "skipped");
}

#[test]
fn config_check_names_every_problem_and_show_hides_secrets() {
    let data = data_dir();
    let bad = [
        ("BYOC_ENDPOINT_URL", "not a url"),
        ("BYOC_API", "soap"),
        ("BYOC_API_KEY", "test-key-that-is-hidden"),
    ];
    let output = run(atlasai(data.path()).envs(bad).args(["config", "check"]), "");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("BYOC_ENDPOINT_URL") && said.contains("BYOC_API "), "{said}");
    let shown = stdout_of(
        atlasai(data.path()).env("BYOC_API_KEY", "test-key-that-is-hidden").args([
            "config",
            "show",
            "--sources",
        ]),
        "",
    );
    assert!(shown.contains("BYOC_API_KEY") && shown.contains("fingerprint"), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}
