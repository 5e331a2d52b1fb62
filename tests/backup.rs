//! Backup, restore and reindex through the command line and the API of a running server.

mod common;

use std::path::Path;

use common::{Server, atlasai, data_dir, stderr_of_failure, stdout_of};
use serde_json::{Value, json};

const FALLBACK: [(&str, &str); 1] = [("EMBEDDING_PROVIDER", "fallback")];

fn start(data: &Path) -> Server {
    Server::start(data, &FALLBACK, &[])
}

fn command(data: &Path, arguments: &[&str]) -> String {
    stdout_of(atlasai(data).envs(FALLBACK).args(arguments), "")
}

fn write(server: &Server, id: &str, text: &str) {
    let markdown = format!("# {id}\n\n{text}\n");
    let (status, answer) =
        server.json("POST", "/api/runbooks", &json!({"id": id, "markdown": markdown}).to_string());
    assert_eq!(status, 201, "{answer}");
}

fn found(server: &Server, words: &str) -> Vec<String> {
    let query = json!({"query": words, "corpora": ["runbooks"], "refresh": true, "legs": ["lexical"]});
    let (status, answer) = server.json("POST", "/api/search", &query.to_string());
    assert_eq!(status, 200, "{answer}");
    let hits = answer["hits"].as_array().expect("hits");
    hits.iter().filter_map(|hit| hit["id"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_running_server_is_backed_up_and_restored_by_the_command_line() {
    let data = data_dir();
    let server = start(data.path());
    write(&server, "disk", "the volume is full");
    let line = command(data.path(), &["backup", "one"]);
    assert!(line.contains("default") && line.contains("one"), "{line}");
    write(&server, "later", "the volume is gone");
    assert_eq!(found(&server, "volume").len(), 2);
    let line = command(data.path(), &["restore", "one", "--tenant", "default"]);
    assert!(line.contains("restored one: default"), "{line}");
    assert_eq!(found(&server, "volume"), ["disk"]);
    write(&server, "new", "the volume is back");
    assert_eq!(found(&server, "volume").len(), 2);
    let listed = command(data.path(), &["backups"]);
    assert!(listed.starts_with("one  "), "{listed}");
    server.kill();
    let server = start(data.path());
    assert_eq!(found(&server, "volume").len(), 2, "what was acknowledged after the restore is there");
}

#[test]
fn without_a_server_the_commands_work_on_the_directory_and_a_backup_moves_to_another_machine() {
    let (here, there, elsewhere) = (data_dir(), data_dir(), data_dir());
    let server = start(here.path());
    write(&server, "disk", "the volume is full");
    assert!(server.terminate());
    let shelf = elsewhere.path().to_str().expect("UTF-8");
    command(here.path(), &["backup", "one", "--to", shelf]);
    let restored: Value =
        serde_json::from_str(&command(there.path(), &["restore", "one", "--from", shelf, "--json"]))
            .expect("JSON");
    assert_eq!(restored["tenants"][0]["tenant"], "default");
    assert_eq!(found(&start(there.path()), "volume"), ["disk"]);
}

#[test]
fn the_api_takes_a_name_and_never_a_path() {
    let data = data_dir();
    let server = start(data.path());
    for name in ["../x", "a/b", "/tmp/x", ".hidden", ""] {
        let (status, problem) = server.json("POST", "/api/backups", &json!({"name": name}).to_string());
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_field")), "{name}: {problem}");
    }
    let (status, problem) = server.json("POST", "/api/backups/..%2Fx/restore", "{}");
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_name")), "{problem}");
    let (status, problem) = server.json("POST", "/api/backups/none/restore", "{}");
    assert_eq!((status, &problem["code"]), (404, &json!("unknown_backup")), "{problem}");
    let (status, made) = server.json("POST", "/api/backups", "{}");
    assert_eq!(status, 201, "{made}");
    let name = made["name"].as_str().expect("a name").to_owned();
    let (status, problem) = server.json("POST", "/api/backups", &json!({"name": name}).to_string());
    assert_eq!((status, &problem["code"]), (409, &json!("backup_exists")), "{problem}");
    assert_eq!(server.json("GET", &format!("/api/backups/{name}"), ""), (200, made.clone()));
    assert_eq!(server.json("GET", "/api/backups", "").1["items"], json!([made]));
    assert_eq!(server.call("DELETE", &format!("/api/backups/{name}"), "").0, 204);
    assert_eq!(server.json("GET", "/api/backups", "").1["items"], json!([]));
}

#[test]
fn a_damaged_backup_is_refused_and_nothing_changes() {
    let data = data_dir();
    let server = start(data.path());
    write(&server, "disk", "the volume is full");
    command(data.path(), &["backup", "one"]);
    write(&server, "later", "the volume is gone");
    let file = data.path().join("backups/one/default.db");
    let mut bytes = std::fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let refused = stderr_of_failure(atlasai(data.path()).envs(FALLBACK).args(["restore", "one"]), "");
    assert!(refused.contains("damaged") && refused.contains("nothing was changed"), "{refused}");
    assert_eq!(found(&server, "volume").len(), 2);
}

#[test]
fn reindex_makes_the_indexes_again_and_says_when_it_is_done() {
    let data = data_dir();
    let server = start(data.path());
    write(&server, "disk", "the volume is full");
    let line = command(data.path(), &["reindex"]);
    assert!(line.contains("cover change 1"), "{line}");
    assert_eq!(found(&server, "volume"), ["disk"]);
    let (status, state) = server.json("GET", "/api/reindex", "");
    assert_eq!((status, &state["complete"]), (200, &json!(true)), "{state}");
    let refused =
        stderr_of_failure(atlasai(data.path()).envs(FALLBACK).args(["reindex", "--tenant", "nobody"]), "");
    assert!(refused.contains("there is no tenant nobody"), "{refused}");
}
