use serde_json::json;

use super::*;

async fn create(server: &Server, path: &str, body: Value) -> Value {
    let answer = server.call("POST", path, &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let location = answer.headers["location"].to_str().expect("ASCII").to_owned();
    let read = server.call("GET", &location, "").await;
    assert_eq!((read.status.as_u16(), &read.json()), (200, &answer.json()), "{location}");
    answer.json()
}

#[tokio::test]
async fn an_incident_lives_from_post_to_delete() {
    let server = Server::start().await;
    let made = create(&server, "/api/incidents", json!({"id": "a/b c", "title": "Checkout fails"})).await;
    assert_eq!(made["status"], "open");
    server
        .call("POST", "/api/incidents", r#"{"id":"a/b c","title":"again"}"#)
        .await
        .problem(409, "already_exists");

    let mut changed = made.clone();
    changed["title"] = json!("Checkout failed");
    let path = "/api/incidents/a%2Fb%20c";
    let replaced = server.call("PUT", path, &changed.to_string()).await;
    assert_eq!(
        (replaced.status.as_u16(), &replaced.json()["title"]),
        (200, &json!("Checkout failed")),
        "{}",
        replaced.text
    );
    assert_eq!(replaced.json()["started_at"], made["started_at"]);

    assert_eq!(server.call("DELETE", path, "").await.status, 204);
    server.call("GET", path, "").await.problem(404, "not_found");
    server.call("DELETE", path, "").await.problem(404, "not_found");
    server.call("PUT", path, &changed.to_string()).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_runbook_is_json_or_the_file_itself() {
    let server = Server::start().await;
    let made = create(
        &server,
        "/api/runbooks",
        json!({"id": "db/full.md", "markdown": "# Disk full\n\nDelete logs."}),
    )
    .await;
    assert_eq!(made["title"], "Disk full");
    let markdown = [("content-type", "text/markdown")];
    let answer = server
        .call_with("POST", "/api/runbooks?id=net/dns.md", "---\nservice: dns\n---\n# DNS\n\nAsk.", &markdown)
        .await;
    assert_eq!((answer.status.as_u16(), &answer.json()["service"]), (201, &json!("dns")), "{}", answer.text);
    let replaced =
        server.call_with("PUT", "/api/runbooks/net/dns.md", "# DNS fails\n\nAsk.", &markdown).await;
    assert_eq!((replaced.status.as_u16(), &replaced.json()["title"]), (200, &json!("DNS fails")));
    assert_eq!(server.call("DELETE", "/api/runbooks/net%2Fdns.md", "").await.status, 204);
    assert_eq!(
        server.call("GET", "/api/runbooks", "").await.json()["items"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_list_is_walked_by_cursor_and_every_item_comes_once() {
    let server = Server::start().await;
    for n in 0..7 {
        let status = if n % 2 == 0 { "open" } else { "mitigated" };
        create(
            &server,
            "/api/incidents",
            json!({"id": format!("i{n}"), "title": "t", "status": status, "severity": "High", "labels": {"team": "a"},
                   "started_at": format!("2026-11-0{}T00:00:00Z", n + 1)}),
        )
        .await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.call("GET", &format!("/api/incidents?limit=3{cursor}"), "").await.json();
        seen.extend(
            page["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|item| item["id"].as_str().expect("id").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => {
                cursor = format!(
                    "&cursor={}",
                    url::form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>()
                )
            }
            None => break,
        }
    }
    assert_eq!(seen, ["i6", "i5", "i4", "i3", "i2", "i1", "i0"], "newest first");
    for (filter, count) in [
        ("status=open", 4),
        ("status=open&status=mitigated", 7),
        ("severity=HIGH", 7),
        ("label.team=a", 7),
        ("label.team=b", 0),
        ("since=2026-11-03T00:00:00Z&until=2026-11-05T00:00:00Z", 2),
    ] {
        let page = server.call("GET", &format!("/api/incidents?{filter}"), "").await.json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(count), "{filter}");
    }
}

#[tokio::test]
async fn search_finds_what_was_written_and_says_which_leg_is_missing() {
    let server = Server::start().await;
    create(
        &server,
        "/api/runbooks",
        json!({"id": "pool.md", "markdown": "# Pool\n\nThe connection pool is exhausted."}),
    )
    .await;
    create(
        &server,
        "/api/incidents",
        json!({"id": "i1", "title": "Connection pool exhausted", "service": "shop"}),
    )
    .await;
    server.settle().await;
    assert_eq!(server.found("pool exhausted", "runbooks").await[0]["id"], "pool.md");
    let answer =
        server.call("GET", "/api/search?q=pool+exhausted&corpus=incidents&service=shop", "").await.json();
    assert_eq!(answer["hits"][0]["id"], "i1", "{answer}");
    assert_eq!(answer["degraded"], json!(["vector"]));
    assert!(answer["took_ms"].is_u64());
    let none = server.call("GET", "/api/search?q=pool&corpus=incidents&service=other", "").await.json();
    assert_eq!(none["hits"], json!([]));
}

#[tokio::test]
async fn tenants_see_nothing_of_each_other() {
    let server = Server::start().await;
    assert_eq!(server.call("POST", "/api/tenants", r#"{"id":"acme"}"#).await.status, 201);
    assert_eq!(server.call("POST", "/api/tenants", r#"{"id":"acme"}"#).await.status, 200);
    server.call("POST", "/api/tenants", r#"{"id":"../x"}"#).await.problem(422, "invalid_field");
    let names = server.call("GET", "/api/tenants", "").await.json();
    assert_eq!(names["items"], json!([{"id": "acme"}, {"id": "default"}]));

    create(&server, "/api/incidents", json!({"id": "secret", "title": "a secret pool"})).await;
    server.settle().await;
    let acme = [("x-tenant-id", "acme")];
    server.call_with("GET", "/api/incidents/secret", "", &acme).await.problem(404, "not_found");
    assert_eq!(server.call_with("GET", "/api/incidents", "", &acme).await.json()["items"], json!([]));
    let found = server.call_with("POST", "/api/search", r#"{"query":"secret pool"}"#, &acme).await.json();
    assert_eq!(found["hits"], json!([]));
}

#[tokio::test]
async fn an_import_is_judged_before_it_is_written_and_repeating_it_changes_nothing() {
    let server = Server::start().await;
    let good =
        json!({"items": [{"id": "a.md", "markdown": "# A\n\na"}, {"id": "b.md", "markdown": "# B\n\nb"}]})
            .to_string();
    let nobody = [("x-tenant-id", "not-made-yet")];
    let checked = server.call_with("POST", "/api/import/runbooks?check=true", good.clone(), &nobody).await;
    assert_eq!(checked.json(), json!({"checked": 2}));
    assert_eq!(server.call("GET", "/api/runbooks", "").await.json()["items"], json!([]));
    let written = server.call("POST", "/api/import/runbooks", &good).await.json();
    assert_eq!(written, json!({"created": 2, "updated": 0, "unchanged": 0}));
    let again = server.call("POST", "/api/import/runbooks", &good).await.json();
    assert_eq!(again, json!({"created": 0, "updated": 0, "unchanged": 2}));
    let bad = json!({"items": [{"id": "c.md", "markdown": "# C\n\nc"}, {"markdown": " "}]}).to_string();
    let problem = server.call("POST", "/api/import/runbooks", &bad).await.problem(422, "invalid_field");
    assert_eq!(problem["field"], "items[1].markdown");
    server.call("GET", "/api/runbooks/c.md", "").await.problem(404, "not_found");
}

#[tokio::test]
async fn health_and_the_page_need_nothing() {
    let server = Server::start().await;
    for path in ["/livez", "/readyz", "/"] {
        let answer = server.send(Request::get(path).body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_demo_is_loaded_once() {
    let server = Server::start().await;
    crate::demo::load(&server.app).await.expect("loaded");
    let count = async || {
        server.call("GET", "/api/alerts?limit=500", "").await.json()["items"].as_array().map(Vec::len)
    };
    let first = count().await;
    crate::demo::load(&server.app).await.expect("nothing to do");
    assert_eq!(count().await, first);
    assert_eq!(first, Some(20));
    let open = server.call("GET", "/api/incidents?status=open", "").await.json();
    assert_eq!(open["items"].as_array().map(Vec::len), Some(1), "{open}");
    assert!(!open["items"][0]["alert_ids"].as_array().expect("alerts").is_empty());
    server.settle().await;
    for corpus in ["runbooks", "incidents", "alerts", "logs"] {
        assert!(!server.found("checkout connection pool", corpus).await.is_empty(), "{corpus}");
    }
}
