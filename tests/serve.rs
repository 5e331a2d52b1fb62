//! The server as an operator meets it: started, used, killed, started again.

mod common;

use common::{Server, atlasai, corpora, data_dir, stdout_of};
use serde_json::{Value, json};

fn search(server: &Server, query: &str, corpus: &str) -> Value {
    let body = json!({"query": query, "corpora": [corpus], "refresh": true}).to_string();
    let (status, answer) = server.json("POST", "/api/search", &body);
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn the_banner_is_true_and_the_server_ends_cleanly_when_asked() {
    let data = data_dir();
    let server = Server::start(data.path(), &[], &[]);
    assert!(server.banner.contains(&server.url()), "{}", server.banner);
    assert_eq!(server.request("GET", "/readyz", &[], "").0, 200);
    assert_eq!(server.request("GET", "/livez", &[], "").0, 200);
    assert!(server.terminate(), "exit status 0");
}

#[test]
fn without_a_token_of_ones_own_the_server_makes_one_and_says_where() {
    let data = data_dir();
    let server = Server::start(data.path(), &[("ADMIN_TOKEN", "")], &[]);
    let file = data.path().join("admin-token");
    assert!(server.banner.contains(file.to_str().expect("UTF-8")), "{}", server.banner);
    let token = std::fs::read_to_string(&file).expect("the token file");
    assert!(!server.banner.contains(token.trim()), "the token itself is not printed");
    let bearer = format!("Bearer {}", token.trim());
    assert_eq!(server.request("GET", "/api/incidents", &[("authorization", &bearer)], "").0, 200);
    assert_eq!(server.call("GET", "/api/incidents", "").0, 401, "another token is refused");
}

#[test]
fn demo_data_is_found_by_meaning() {
    let data = data_dir();
    let server = Server::start(data.path(), &[], &["--demo"]);
    for corpus in ["runbooks", "incidents", "alerts", "logs"] {
        let answer = search(&server, "checkout cannot get a database connection", corpus);
        assert!(!answer["hits"].as_array().expect("hits").is_empty(), "{corpus}: {answer}");
        assert_eq!(answer["degraded"], json!([]), "{corpus}");
    }
    let open = server.json("GET", "/api/incidents?status=open", "").1;
    let id = open["items"][0]["id"].as_str().expect("an open incident").to_owned();
    let similar = server.json("GET", &format!("/api/incidents/{id}/similar"), "").1;
    assert!(!similar.to_string().contains("\"hits\":[]"), "past incidents resemble it: {similar}");
}

#[test]
fn an_acknowledged_write_survives_a_kill() {
    let data = data_dir();
    let server = Server::start(data.path(), &[], &[]);
    let body =
        json!({"title": "Search is slow", "description": "p99 above 2 s", "service": "search"}).to_string();
    let (status, created) = server.json("POST", "/api/incidents", &body);
    assert_eq!(status, 201, "{created}");
    server.kill();

    let server = Server::start(data.path(), &[], &[]);
    let id = created["id"].as_str().expect("an id");
    let (status, again) = server.json("GET", &format!("/api/incidents/{id}"), "");
    assert_eq!((status, &again["title"]), (200, &json!("Search is slow")));
    assert_eq!(search(&server, "slow queries", "incidents")["hits"][0]["id"], created["id"]);
}

#[test]
fn a_second_server_on_the_same_data_says_who_has_it() {
    let data = data_dir();
    let _server = Server::start(data.path(), &[], &[]);
    let error =
        common::stderr_of_failure(atlasai(data.path()).args(["serve", "--listen", "127.0.0.1:0"]), "");
    assert!(error.contains("in use by another process"), "{error}");
}

#[test]
fn without_a_provider_ai_answers_503_and_everything_else_works() {
    let data = data_dir();
    let server = Server::start(data.path(), &[], &[]);
    let (_, incident) = server.json("POST", "/api/incidents", r#"{"title":"Disk full on db-1"}"#);
    let ask = json!({"incident_id": incident["id"]}).to_string();
    for (path, body) in [("/api/ai/rca", ask.as_str()), ("/api/ai/test", r#"{"test": true}"#)] {
        let (status, problem) = server.json("POST", path, body);
        assert_eq!(status, 503, "{path}: {problem}");
        assert_eq!(problem["title"], "AI provider temporarily unavailable", "{path}");
        assert!(problem["code"].is_string() && problem["hint"].is_string(), "{path}: {problem}");
    }
    assert_eq!(search(&server, "disk", "incidents")["hits"][0]["id"], incident["id"]);
}

#[test]
fn the_command_line_uses_the_running_server() {
    let data = data_dir();
    let server = Server::start(data.path(), &[], &[]);
    let file = data.path().join("app.log");
    std::fs::write(&file, "ERROR connection refused by db-1:5432\nINFO request served in 12 ms\n")
        .expect("written");
    let path = file.to_str().expect("UTF-8");
    stdout_of(atlasai(data.path()).args(["import", "logs", path, "--service", "shop"]), "");
    let (_, logs) = server.json("GET", "/api/logs", "");
    assert_eq!(logs["items"].as_array().map(Vec::len), Some(2), "{logs}");
    let found = stdout_of(
        atlasai(data.path()).args(["search", "database refused", "--corpus", "logs", "--json"]),
        "",
    );
    assert!(found.contains("connection refused by db-1"), "{found}");
}

#[test]
fn bad_input_is_answered_with_the_field_and_the_fix_and_writes_nothing() {
    let data = data_dir();
    let server = Server::start(data.path(), &[], &[]);
    let json_type = ("content-type", "application/json");
    let bearer = format!("Bearer {}", common::TOKEN);
    let auth = ("authorization", bearer.as_str());
    let huge = "x".repeat(50 << 20);
    // What is wrong, the headers, the body, and the status and word of the answer.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);
    let cases: &[Case<'_>] = &[
        ("malformed JSON", &[auth, json_type], "{\"title\": ", 400, "EOF"),
        ("an unknown field", &[auth, json_type], r#"{"title":"a","colour":"red"}"#, 422, "colour"),
        ("a missing field", &[auth, json_type], r#"{"description":"a"}"#, 422, "title"),
        ("a body of 50 MB", &[auth, json_type], &huge, 413, ""),
        ("a wrong token", &[("authorization", "Bearer nope"), json_type], r#"{"title":"a"}"#, 401, ""),
        (
            "an unknown tenant",
            &[auth, json_type, ("x-tenant-id", "nobody")],
            r#"{"title":"a"}"#,
            404,
            "nobody",
        ),
        (
            "an impossible tenant",
            &[auth, json_type, ("x-tenant-id", "../x")],
            r#"{"title":"a"}"#,
            400,
            "x-tenant-id",
        ),
    ];
    for (name, headers, body, status, word) in cases {
        let (answered, problem) = server.request("POST", "/api/incidents", headers, body);
        assert_eq!(answered, *status, "{name}: {problem}");
        let problem: Value = serde_json::from_str(&problem).unwrap_or_else(|_| panic!("{name}: {problem}"));
        for field in ["title", "code", "request_id"] {
            assert!(problem[field].is_string(), "{name}: {field} in {problem}");
        }
        assert!(problem.to_string().contains(word), "{name}: {problem}");
    }
    assert_eq!(server.json("GET", "/api/incidents", "").1["items"], json!([]));
}

#[test]
fn real_runbooks_and_logs_import_while_searches_run() {
    let Some(corpora) = corpora("real_runbooks_and_logs_import_while_searches_run") else { return };
    let data = data_dir();
    let server = Server::start(data.path(), &[("EMBEDDING_PROVIDER", "fallback")], &[]);
    let import = |kind: &str, folder: &str| {
        let path = corpora.join(folder);
        let mut command = atlasai(data.path());
        command.args(["import", kind, path.to_str().expect("UTF-8"), "--json"]);
        std::thread::spawn(move || stdout_of(&mut command, ""))
    };
    let imports = [import("runbooks", "runbooks-prometheus-operator"), import("logs", "loghub/HDFS")];
    while !imports.iter().all(std::thread::JoinHandle::is_finished) {
        for (query, corpus) in [("alertmanager cluster down", "runbooks"), ("block terminating", "logs")] {
            let (status, answer) =
                server.json("GET", &format!("/api/search?q={}&corpus={corpus}", query.replace(' ', "+")), "");
            assert_eq!(status, 200, "{answer}");
        }
    }
    for import in imports {
        import.join().expect("the import succeeded");
    }
    let runbooks = count(&server, "/api/runbooks");
    let logs = count(&server, "/api/logs");
    assert_eq!((runbooks, logs), (108, 2000));
}

fn count(server: &Server, path: &str) -> usize {
    let mut items = 0;
    let mut cursor = String::new();
    loop {
        let (status, page) = server.json("GET", &format!("{path}?limit=500{cursor}"), "");
        assert_eq!(status, 200, "{page}");
        items += page["items"].as_array().expect("items").len();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}
