//! Several servers on one PostgreSQL. Without one (see `atlas_testkit::postgres`) every test here
//! prints SKIPPED.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};

use atlas_testkit::postgres::Database;
use common::{Server, atlasai, data_dir, run, stderr_of_failure, stdout_of};
use serde_json::{Value, json};

const KEYWORDS: (&str, &str) = ("EMBEDDING_PROVIDER", "fallback");

fn server(database: &Database, data: &Path, arguments: &[&str]) -> Server {
    let url = database.url(&database.server());
    Server::start(data, &[("TP_STORE", &url), KEYWORDS], arguments)
}

fn runbook(id: &str, text: &str) -> String {
    json!({"id": id, "title": id, "markdown": format!("# {id}\n\n{text}\n")}).to_string()
}

#[track_caller]
fn found(server: &Server, query: &str) -> Vec<String> {
    let ask = json!({"query": query, "refresh": true, "corpora": ["runbooks"]}).to_string();
    let (status, answer) = server.json("POST", "/api/search", &ask);
    assert_eq!(status, 200, "{answer}");
    let hits = answer["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn two_servers_find_what_either_wrote() {
    let Some(database) = Database::create("two servers find what either wrote") else { return };
    let (left_data, right_data) = (data_dir(), data_dir());
    let (left, right) = (server(&database, left_data.path(), &[]), server(&database, right_data.path(), &[]));
    assert_eq!(left.json("POST", "/api/runbooks", &runbook("pool.md", "the zeppelin pool leaks")).0, 201);
    assert_eq!(right.json("GET", "/api/runbooks/pool.md", "").0, 200);
    assert_eq!(found(&right, "zeppelin"), ["pool.md"]);
    assert_eq!(
        right.json("PUT", "/api/runbooks/pool.md", &runbook("pool.md", "the quokka pool leaks")).0,
        200
    );
    assert_eq!(found(&left, "zeppelin"), [""; 0]);
    assert_eq!(found(&left, "quokka"), ["pool.md"]);
    assert_eq!(left.call("DELETE", "/api/runbooks/pool.md", "").0, 204);
    assert_eq!(found(&right, "quokka"), [""; 0]);
    assert_eq!(left.call("POST", "/api/tenants", r#"{"id": "acme"}"#).0, 201);
    assert_eq!(right.call("POST", "/api/tenants", r#"{"id": "acme"}"#).0, 200);
    assert!(left.terminate() && right.terminate(), "both end cleanly");
}

/// What a writer knows: the text that was acknowledged last, and one that may be there instead.
#[derive(Default, Clone)]
struct Known {
    acknowledged: Option<String>,
    unanswered: Option<String>,
}

#[test]
fn one_of_two_servers_killed_under_load_loses_nothing_that_was_acknowledged() {
    let Some(database) = Database::create("one of two servers killed under load") else { return };
    let (left_data, right_data) = (data_dir(), data_dir());
    let mut left = server(&database, left_data.path(), &[]);
    let right = server(&database, right_data.path(), &[]);
    let known: Mutex<BTreeMap<String, Known>> = Mutex::default();
    for round in 0..5 {
        let stop = AtomicBool::new(false);
        let (acknowledged, acknowledgements) = mpsc::channel();
        let doomed = left;
        std::thread::scope(|threads| {
            for writer in 0..4 {
                let (doomed, right, known, stop) = (&doomed, &right, &known, &stop);
                let acknowledged = acknowledged.clone();
                threads.spawn(move || {
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        // Two writers on each server; ten documents each, written over and over.
                        let server = if writer % 2 == 0 { doomed } else { right };
                        let id = format!("w{writer}-{}.md", n % 10);
                        let text = format!("round {round} version {n} by {writer}");
                        let path = format!("/api/runbooks/{id}");
                        let status = match server.try_call("PUT", &path, &runbook(&id, &text)) {
                            Some(404) => server.try_call("POST", "/api/runbooks", &runbook(&id, &text)),
                            status => status,
                        };
                        let mut known = known.lock().expect("no writer panicked");
                        let entry = known.entry(id).or_default();
                        match status {
                            Some(200 | 201) => {
                                *entry = Known { acknowledged: Some(text), unanswered: None };
                                // Nobody counts after the end of the round.
                                let _ = acknowledged.send(());
                            }
                            // Killed in the middle: there or not there, but nothing else.
                            _ if writer % 2 == 0 => {
                                entry.unanswered = Some(text);
                                return;
                            }
                            status => panic!("the server that lives answered {status:?}"),
                        }
                    }
                });
            }
            drop(acknowledged);
            // A different number in each round; the kill then falls anywhere in what follows. The
            // other goes on for a while. Fewer come when the writers have all ended.
            let before = acknowledgements.iter().take(40 + round * 17).count();
            doomed.kill_now();
            let after = acknowledgements.iter().take(20).count();
            stop.store(true, Ordering::Relaxed);
            assert_eq!((before, after), (40 + round * 17, 20), "the writers ended early");
        });
        drop(doomed);
        left = server(&database, left_data.path(), &[]);
        let known = known.lock().expect("no writer panicked").clone();
        for server in [&left, &right] {
            check(server, &known);
        }
    }
}

/// Everything acknowledged is there, as it was written last, and can be found; nothing else is.
#[track_caller]
fn check(server: &Server, known: &BTreeMap<String, Known>) {
    let mut listed = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let (status, page) = server.json("GET", &format!("/api/runbooks?limit=7{cursor}"), "");
        assert_eq!(status, 200, "{page}");
        for item in page["items"].as_array().expect("items") {
            let id = item["id"].as_str().expect("an id").to_owned();
            assert!(listed.insert(id, item["markdown"].clone()).is_none(), "listed twice");
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    for (id, Known { acknowledged, unanswered }) in known {
        let there = listed.remove(id).map(|markdown| markdown.as_str().expect("text").to_owned());
        let is = |text: &Option<String>| {
            text.as_ref()
                .is_some_and(|text| there.as_ref().is_some_and(|there| there.contains(text.as_str())))
        };
        let absent = acknowledged.is_none() && there.is_none();
        assert!(
            is(acknowledged) || is(unanswered) || absent,
            "{id}: {there:?}, {acknowledged:?}, {unanswered:?}"
        );
    }
    assert_eq!(listed.into_keys().collect::<Vec<_>>(), [""; 0], "nobody wrote these");
    let hits = found(server, "w1-3.md");
    assert_eq!(hits.first().map(String::as_str), Some("w1-3.md"), "{hits:?}");
}

#[test]
fn both_stores_give_the_same_answers() {
    let Some(database) = Database::create("both stores give the same answers") else { return };
    let url = database.url(&database.server());
    let (embedded_data, shared_data) = (data_dir(), data_dir());
    // Loaded once and moved: the demo's ids follow from the time at which it is loaded.
    assert!(Server::start(embedded_data.path(), &[], &["--demo"]).terminate());
    let mut there = atlasai(embedded_data.path());
    there.env("TP_STORE", &url).args(["migrate-store", "--tenant", "default", "--to", "postgres"]);
    stdout_of(&mut there, "");
    let embedded = Server::start(embedded_data.path(), &[], &[]);
    let shared = Server::start(shared_data.path(), &[("TP_STORE", &url)], &[]);
    let queries = [
        "checkout cannot get a database connection",
        "disk is filling up",
        "pods restart after out of memory",
        "certificate expired",
        "latency after deploy",
        "timeout",
    ];
    let filters = [
        json!({}),
        json!({"service": ["checkout"]}),
        json!({"severity": ["critical"]}),
        json!({"until": "2020-01-01T00:00:00Z"}),
    ];
    for query in queries {
        for filter in &filters {
            for legs in [json!(["vector"]), json!(["exact", "lexical", "vector"])] {
                let ask =
                    json!({"query": query, "filter": filter, "legs": legs, "refresh": true}).to_string();
                let answer = |server: &Server| {
                    let (status, answer) = server.json("POST", "/api/search", &ask);
                    assert_eq!(status, 200, "{answer}");
                    let hits = answer["hits"].as_array().expect("hits");
                    // The same floats, summed in another order. Ids of alerts and lines are made of
                    // their times, and the demo is as old as its server: equal scores stand in
                    // another order, so titles are compared, and order only as far as scores say.
                    let round = |score: &Value| (score.as_f64().expect("a number") * 1e4).round() as i64;
                    let mut hits: Vec<_> = hits
                        .iter()
                        .map(|hit| {
                            (-round(&hit["score"]), hit["corpus"].to_string(), hit["title"].to_string())
                        })
                        .collect();
                    hits.sort();
                    hits
                };
                assert_eq!(answer(&shared), answer(&embedded), "{ask}");
            }
        }
    }
}

#[test]
fn a_role_that_could_set_row_policies_aside_is_refused() {
    let Some(database) = Database::create("roles that are refused") else { return };
    let refused = |user: &str, expect: &[&str]| {
        let data = data_dir();
        let url = database.url(user);
        let said = stderr_of_failure(
            atlasai(data.path()).envs([("TP_STORE", url.as_str()), KEYWORDS]).args([
                "serve",
                "--listen",
                "127.0.0.1:0",
            ]),
            "",
        );
        for words in expect {
            assert!(said.contains(words), "{said}");
        }
    };
    let server = database.server();
    refused("postgres", &["is a superuser", "CREATE ROLE", "NOSUPERUSER"]);
    refused(&database.owner(), &["owns the tables", "REASSIGN OWNED BY"]);
    database.admin(&format!("ALTER ROLE {server} BYPASSRLS"));
    refused(&server, &["BYPASSRLS", "NOBYPASSRLS"]);
    database.admin(&format!("ALTER ROLE {server} NOBYPASSRLS; GRANT {} TO {server}", database.owner()));
    refused(&server, &["owns the tables"]);
    database.admin(&format!(
        "REVOKE {} FROM {server}; ALTER TABLE atlasai.chunks NO FORCE ROW LEVEL SECURITY",
        database.owner()
    ));
    refused(&server, &["not in force", "chunks"]);
    database.admin("ALTER TABLE atlasai.chunks FORCE ROW LEVEL SECURITY; CREATE POLICY all_rows ON atlasai.records USING (true)");
    refused(&server, &["records"]);
    database.admin("DROP POLICY all_rows ON atlasai.records; UPDATE atlasai.store SET version = 99");
    refused(&server, &["newer version"]);
    database.admin("UPDATE atlasai.store SET version = 0");
    refused(&server, &["atlasai-tp migrate"]);
    database.admin("UPDATE atlasai.store SET version = 1");
    refused("nobody_at_all", &["does not exist"]);
}

#[test]
fn migrating_is_repeatable_and_needs_the_owner() {
    let Some(database) = Database::create("migrating from the command line") else { return };
    let data = data_dir();
    let url = database.url(&database.server());
    let migrate = |environment: &[(&str, &str)]| {
        let mut command = atlasai(data.path());
        command.env("TP_STORE", &url).envs(environment.iter().copied()).arg("migrate");
        command
    };
    let owner = database.owner();
    database.admin("DROP SCHEMA atlasai CASCADE");
    let as_owner: &[_] = &[("TP_STORE_MIGRATE_USER", owner.as_str())];
    assert!(stdout_of(&mut migrate(as_owner), "").contains("the tables are made"));
    assert!(stdout_of(&mut migrate(as_owner), "").contains("version 1"));
    assert!(stderr_of_failure(&mut migrate(&[]), "").contains("TP_STORE_MIGRATE_USER"));
    // Many servers that migrate while they start.
    database.admin("DROP SCHEMA atlasai CASCADE");
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| assert!(run(&mut migrate(as_owner), "").status.success()));
        }
    });
    let server = database.server();
    database.admin(&format!("REVOKE ALL ON SCHEMA atlasai FROM {server}"));
    let said = stderr_of_failure(
        atlasai(data.path()).envs([("TP_STORE", url.as_str()), KEYWORDS]).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
        ]),
        "",
    );
    assert!(said.contains("atlasai-tp migrate"), "{said}");
    let both = [("TP_STORE", url.as_str()), KEYWORDS, ("TP_STORE_MIGRATE_USER", owner.as_str())];
    let data = data_dir();
    drop(Server::start(data.path(), &both, &[]));
}

#[test]
fn a_database_that_is_away_is_said_to_be_and_comes_back_by_itself() {
    let Some(database) = Database::create("a database that is away") else { return };
    let data = data_dir();
    let server = server(&database, data.path(), &[]);
    assert_eq!(server.json("POST", "/api/runbooks", &runbook("a.md", "zeppelin")).0, 201);
    assert_eq!(found(&server, "zeppelin"), ["a.md"]);
    // Every connection dies: the next request opens another and nobody notices.
    let name = database.options("x").database;
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    );
    database.admin(&kill);
    assert_eq!(server.json("GET", "/api/runbooks/a.md", "").0, 200);
    database.admin(&kill);
    assert_eq!(server.json("POST", "/api/runbooks", &runbook("b.md", "quokka")).0, 201);
    // Nobody is let in any more.
    let role = database.server();
    database.admin(&format!("ALTER ROLE {role} NOLOGIN; {kill}"));
    let (status, problem) = server.json("GET", "/api/runbooks/a.md", "");
    assert_eq!((status, &problem["code"]), (503, &json!("storage_unavailable")), "{problem}");
    assert_eq!(server.json("POST", "/api/runbooks", &runbook("c.md", "narwhal")).0, 503);
    assert_eq!(server.call("GET", "/readyz", "").0, 503);
    assert_eq!(server.call("GET", "/livez", "").0, 200);
    database.admin(&format!("ALTER ROLE {role} LOGIN"));
    assert_eq!(server.json("GET", "/api/runbooks/b.md", "").0, 200);
    assert_eq!(server.json("GET", "/api/runbooks/c.md", "").0, 404);
    assert_eq!(server.call("GET", "/readyz", "").0, 200);
    assert_eq!(found(&server, "quokka"), ["b.md"]);
}

#[test]
fn the_database_is_under_the_egress_policy() {
    let Some(database) = Database::create("the database under the egress policy") else { return };
    let data = data_dir();
    let url = database.url(&database.server());
    let said = stderr_of_failure(
        atlasai(data.path()).envs([("TP_STORE", url.as_str()), KEYWORDS, ("TP_EGRESS", "off")]).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
        ]),
        "",
    );
    assert!(said.contains("TP_EGRESS is off"), "{said}");
    let said = stderr_of_failure(
        atlasai(data.path())
            .envs([("TP_STORE", url.as_str()), KEYWORDS, ("TP_STORE_TLS", "require")])
            .args(["serve", "--listen", "127.0.0.1:0"]),
        "",
    );
    assert!(said.contains("does not offer TLS"), "{said}");
    let private = [("TP_STORE", url.as_str()), KEYWORDS, ("TP_EGRESS", "private")];
    drop(Server::start(data.path(), &private, &[]));
}

/// TLS in front of a PostgreSQL, as its own servers do it: asked for on the plain connection. Gives
/// its port and the certificate.
fn tls_front(to: String) -> (u16, String) {
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key"),
        )
        .expect("a certificate");
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    listener.set_nonblocking(true).expect("a socket");
    std::thread::spawn(move || {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((mut client, _)) = listener.accept().await {
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    let mut asked = [0; 8];
                    client.read_exact(&mut asked).await.expect("a question");
                    assert_eq!(asked, [0, 0, 0, 8, 4, 210, 22, 47], "a client that does not ask for TLS");
                    client.write_u8(b'S').await.expect("a client");
                    let Ok(mut secured) = acceptor.accept(client).await else { return };
                    let mut server = tokio::net::TcpStream::connect(to).await.expect("PostgreSQL");
                    let _ = tokio::io::copy_bidirectional(&mut secured, &mut server).await;
                });
            }
        });
    });
    (port, made.cert.pem())
}

#[test]
fn a_secured_connection_needs_a_certificate_that_is_trusted() {
    let Some(database) = Database::create("a secured connection") else { return };
    let data = data_dir();
    let (port, certificate) = tls_front(database.address().to_owned());
    let plain = database.url(&database.server());
    let url = plain.replace(database.address(), &format!("localhost:{port}"));
    let ca = data.path().join("ca.pem");
    std::fs::write(&ca, certificate).expect("written");
    let ca = ca.to_str().expect("UTF-8");
    let environment = [("TP_STORE", url.as_str()), KEYWORDS, ("TP_STORE_TLS", "require")];
    let said = stderr_of_failure(
        atlasai(data.path()).envs(environment).args(["serve", "--listen", "127.0.0.1:0"]),
        "",
    );
    assert!(said.contains("no secure connection to localhost"), "{said}");
    let trusting = [environment.as_slice(), &[("TP_STORE_CA", ca)]].concat();
    let server = Server::start(data.path(), &trusting, &[]);
    assert_eq!(server.json("POST", "/api/runbooks", &runbook("a.md", "zeppelin")).0, 201);
    assert_eq!(found(&server, "zeppelin"), ["a.md"]);
}

#[test]
fn a_tenant_moves_into_the_database_and_back() {
    let Some(database) = Database::create("a tenant moves") else { return };
    let (data, back) = (data_dir(), data_dir());
    let url = database.url(&database.server());
    let server = Server::start(data.path(), &[], &["--demo"]);
    let ask = r#"{"query": "checkout cannot get a database connection", "refresh": true}"#;
    let ids = |server: &Server| {
        let (status, answer) = server.json("POST", "/api/search", ask);
        assert_eq!(status, 200, "{answer}");
        let hits = answer["hits"].as_array().expect("hits").clone();
        hits.into_iter().map(|hit| (hit["corpus"].clone(), hit["id"].clone())).collect::<Vec<_>>()
    };
    let before = ids(&server);
    let (_, incidents) = server.json("GET", "/api/incidents?limit=100", "");
    let busy = stderr_of_failure(
        atlasai(data.path()).env("TP_STORE", &url).args([
            "migrate-store",
            "--tenant",
            "default",
            "--to",
            "postgres",
        ]),
        "",
    );
    assert!(busy.contains("in use by another process"), "{busy}");
    assert!(server.terminate());
    let mut there = atlasai(data.path());
    there.env("TP_STORE", &url).args(["migrate-store", "--tenant", "default", "--to", "postgres", "--json"]);
    let report: Value = serde_json::from_str(&stdout_of(&mut there, "")).expect("JSON");
    assert_eq!(report["records"], report["written"], "{report}");
    assert!(report["vectors"].as_u64() > Some(10), "{report}");

    let server = Server::start(back.path(), &[("TP_STORE", &url)], &[]);
    assert_eq!(ids(&server), before);
    assert_eq!(server.json("GET", "/api/incidents?limit=100", "").1, incidents, "with their times");
    assert!(server.terminate());
    let mut home = atlasai(back.path());
    home.env("TP_STORE", &url).args(["migrate-store", "--tenant", "default", "--to", "sqlite"]);
    assert!(stdout_of(&mut home, "").contains("are the same in both stores"));
    let server = Server::start(back.path(), &[], &[]);
    assert_eq!(ids(&server), before);
}
