use super::*;
use crate::problem::Dialect;

#[tokio::test]
async fn every_route_but_the_public_ones_asks_for_the_credential() {
    let server = Server::start().await;
    for route in ROUTES {
        let path = route.path.replace("{*id}", "x").replace("{id}", "x");
        for bearer in [None, Some("Bearer wrong"), Some("Basic eDp5"), Some("Bearer ")] {
            let mut request = Request::builder().method(route.method.clone()).uri(&path);
            if let Some(bearer) = bearer {
                request = request.header("authorization", bearer);
            }
            let answer = server.send(request.body(Body::empty()).expect("a request")).await;
            let public = crate::PUBLIC_ROUTES.contains(&route.path);
            assert_eq!(
                answer.status == 401,
                !public,
                "{} {} {bearer:?}: {}",
                route.method,
                route.path,
                answer.status
            );
            if !public {
                match Dialect::of(&path) {
                    Dialect::Problem => answer.problem(401, "unauthorized"),
                    Dialect::OpenAi => answer.openai_error(401, "invalid_api_key"),
                };
                assert!(answer.headers.contains_key("www-authenticate"));
            }
        }
    }
}

#[test]
fn the_public_routes_are_these_and_no_more() {
    assert_eq!(crate::PUBLIC_ROUTES, ["/livez", "/readyz", "/"]);
}

#[tokio::test]
async fn what_is_not_there_is_refused_like_what_is() {
    let server = Server::start().await;
    for path in ["/api/nothing", "/v1", "/loki", "/api"] {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        server.send(request).await.problem(401, "unauthorized");
        server.call("GET", path, "").await.problem(404, "no_such_route");
    }
    let request = Request::get("/favicon.ico").body(Body::empty()).expect("a request");
    server.send(request).await.problem(404, "no_such_route");
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_right_ones() {
    let server = Server::start().await;
    let answer = server.call("PATCH", "/api/incidents", "").await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "POST, GET");
}

#[tokio::test]
async fn malformed_bodies_are_answered_with_the_place() {
    let server = Server::start().await;
    let cases: &[(&str, u16, &str, Option<&str>, &str)] = &[
        ("{\"title\": ", 400, "malformed_json", None, "line 1"),
        ("", 400, "malformed_json", None, "empty"),
        ("{\"title\":\"a\"} {}", 400, "malformed_json", None, "trailing"),
        ("{\"title\":\"a\",\"colour\":1}", 422, "invalid_field", Some("colour"), "root_cause"),
        ("{\"title\":1}", 422, "invalid_field", Some("title"), "string"),
        ("{\"title\":\"a\",\"labels\":{\"x\":1}}", 422, "invalid_field", Some("labels.x"), "string"),
        ("{\"description\":\"a\"}", 422, "invalid_field", None, "title"),
        ("{\"title\":\" \"}", 422, "invalid_field", Some("title"), "empty"),
    ];
    for (body, status, code, field, word) in cases {
        let problem = server.call("POST", "/api/incidents", body).await.problem(*status, code);
        assert_eq!(problem["field"].as_str(), *field, "{body}: {problem}");
        assert!(problem["detail"].as_str().expect("text").contains(word), "{body}: {problem}");
    }
    assert_eq!(server.call("GET", "/api/incidents", "").await.json()["items"], serde_json::json!([]));
}

#[tokio::test]
async fn a_body_that_is_not_text_is_refused_with_the_offset() {
    let server = Server::start().await;
    for (path, kind) in [("/api/incidents", "application/json"), ("/api/logs", "application/x-ndjson")] {
        let body = b"\"good\"\n\xff\xfe".to_vec();
        let problem = server
            .call_with("POST", path, body, &[("content-type", kind)])
            .await
            .problem(400, "body_not_utf8");
        assert!(problem["detail"].as_str().expect("text").contains("offset 7, in line 2"), "{problem}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_of_its_route_is_refused() {
    let server = Server::start().await;
    for (path, bytes) in [("/api/incidents", 50 << 20), ("/api/logs", 33 << 20)] {
        let problem = server.call("POST", path, &" ".repeat(bytes)).await.problem(413, "body_too_large");
        assert!(problem["hint"].is_string());
    }
}

#[tokio::test]
async fn a_body_of_another_kind_is_refused_with_the_right_one() {
    let server = Server::start().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for path in ["/api/incidents", "/api/logs", "/api/search", "/api/alerts/webhook"] {
        server.call_with("POST", path, "a=b", &form).await.problem(415, "unsupported_media_type");
    }
    let protobuf = [("content-type", "application/x-protobuf")];
    let problem =
        server.call_with("POST", "/v1/logs", "x", &protobuf).await.problem(415, "unsupported_media_type");
    assert!(problem["hint"].as_str().expect("a hint").contains("http/json"));
    let brotli = [("content-encoding", "br")];
    server.call_with("POST", "/api/logs", "x", &brotli).await.problem(415, "unsupported_encoding");
}

#[tokio::test]
async fn an_impossible_tenant_is_400_and_an_unknown_one_404() {
    let server = Server::start().await;
    for name in ["../x", "A", "a b", ""] {
        let answer = server.call_with("GET", "/api/incidents", "", &[("x-tenant-id", name)]).await;
        assert_eq!(answer.problem(400, "invalid_tenant")["field"], "x-tenant-id", "{name:?}");
    }
    let problem = server
        .call_with("GET", "/api/incidents", "", &[("x-tenant-id", "nobody")])
        .await
        .problem(404, "unknown_tenant");
    assert!(problem["hint"].as_str().expect("a hint").contains("--tenant nobody"), "{problem}");
}

#[tokio::test]
async fn wrong_parameters_are_refused_rather_than_ignored() {
    let server = Server::start().await;
    for (query, code, field) in [
        ("limit=0", "invalid_parameter", "limit"),
        ("limit=many", "invalid_parameter", "limit"),
        ("limit=1&limit=2", "invalid_parameter", "limit"),
        ("since=yesterday", "invalid_parameter", "since"),
        ("severty=high", "unknown_parameter", "severty"),
        ("cursor=made-up", "invalid_cursor", "cursor"),
    ] {
        let problem = server.call("GET", &format!("/api/incidents?{query}"), "").await.problem(400, code);
        assert_eq!(problem["field"], field, "{query}");
    }
}

#[tokio::test]
async fn wrong_searches_name_the_field() {
    let server = Server::start().await;
    for (body, field) in [
        (r#"{"query":" "}"#, "query"),
        (r#"{"query":"x","limit":0}"#, "limit"),
        (r#"{"query":"x","limit":101}"#, "limit"),
        (r#"{"query":"x","corpora":["wiki"]}"#, "corpora[0]"),
        (r#"{"query":"x","corpora":["log_templates"]}"#, "corpora"),
        (r#"{"query":"x","legs":[]}"#, "legs"),
        (r#"{"query":"x","legs":["magic"]}"#, "legs[0]"),
        (r#"{"query":"x","filter":{"colour":1}}"#, "filter.colour"),
    ] {
        let problem = server.call("POST", "/api/search", body).await.problem(422, "invalid_field");
        assert_eq!(problem["field"], field, "{body}: {problem}");
    }
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    let server = Server::start().await;
    let id = |given: &'static str| {
        let server = &server;
        async move {
            server.call_with("GET", "/livez", "", &[("x-request-id", given)]).await.headers["x-request-id"]
                .clone()
        }
    };
    assert_eq!(id("abc-1.2").await, "abc-1.2");
    for odd in ["a b", "\"x\"", "", &*"x".repeat(129)] {
        let answer = server.call_with("GET", "/livez", "", &[("x-request-id", odd)]).await;
        assert_ne!(answer.headers["x-request-id"], odd);
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_next_request_is_answered() {
    let server = Server::start().await;
    async fn broken() -> StatusCode {
        panic!("a defect")
    }
    const BROKEN: &[Route] = &[
        route(Method::GET, "/livez", SMALL, SOON, || get(broken)),
        route(Method::GET, "/readyz", SMALL, SOON, || get(health::ready)),
    ];
    let server = Server { router: with_routes(server.app.clone(), BROKEN), ..server };
    server.call("GET", "/livez", "").await.problem(500, "internal");
    assert_eq!(server.call("GET", "/readyz", "").await.status, 200);
}
