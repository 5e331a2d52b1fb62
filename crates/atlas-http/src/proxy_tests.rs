//! Calls that go through a proxy, and calls that must not.

use crate::testing::{
    Authority, OK, client, closed_port, params, serve_http, serve_proxy, serve_tls, serve_tls_proxy, url, via,
};
use crate::{Call, ConnectOptions, HttpError};

#[tokio::test]
async fn https_goes_through_a_tunnel_and_the_name_is_left_to_the_proxy() {
    let authority = Authority::new();
    let mut server = serve_tls(&authority.sign(params()), None).await;
    let mut proxy = serve_proxy(server.address).await;
    let way = via(format!("http://test:pass@{}", proxy.address), "");
    let options = ConnectOptions { proxy: way, ..authority.bundle() };
    // Nobody but the proxy knows where this name leads.
    let url = url("https://llm.example/v1?q=1");
    let reply = client(&options, &[&url]).send(Call::get(url, "test")).await.expect("an answer");
    assert_eq!(reply.bytes(2).await.expect("a body"), "ok");
    let asked = proxy.next().await;
    assert!(asked.starts_with("CONNECT llm.example:443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic dGVzdDpwYXNz\r\n"), "{asked}");
    let seen = server.next().await;
    assert!(seen.starts_with("GET /v1?q=1 HTTP/1.1\r\n"), "{seen}");
    assert!(!seen.to_lowercase().contains("proxy-authorization"), "{seen}");
}

#[tokio::test]
async fn plain_http_is_asked_of_the_proxy_with_the_whole_url() {
    let mut proxy = serve_http(OK).await;
    let way = via(format!("http://test:pass@{}", proxy.address), "");
    let options = ConnectOptions { proxy: way, ..ConnectOptions::default() };
    let url = url("http://llm.example:8080/v1?q=1");
    client(&options, &[&url]).send(Call::get(url, "test")).await.expect("an answer");
    let seen = proxy.next().await;
    assert!(seen.starts_with("GET http://llm.example:8080/v1?q=1 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("proxy-authorization: Basic dGVzdDpwYXNz\r\n"), "{seen}");
    assert!(seen.contains("host: llm.example:8080\r\n"), "{seen}");
}

#[tokio::test]
async fn the_proxy_itself_may_be_behind_tls() {
    let authority = Authority::new();
    let server = serve_tls(&authority.sign(params()), None).await;
    let mut proxy = serve_tls_proxy(&authority.sign(params()), server.address).await;
    let way = via(format!("https://localhost:{}", proxy.address.port()), "");
    let options = ConnectOptions { proxy: way, ..authority.bundle() };
    let url = url("https://llm.example/");
    let outbound = client(&options, &[&url]);
    let reply = outbound.send(Call::get(url.clone(), "test")).await.expect("an answer");
    assert_eq!(reply.status().as_u16(), 200);
    assert!(proxy.next().await.starts_with("CONNECT "));
    let steps = outbound.reach(&url).await;
    assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
    assert_eq!(
        steps.iter().map(|step| step.id).collect::<Vec<_>>(),
        ["policy", "dns", "tcp", "proxy", "tls"]
    );
    // Nobody vouches for the proxy's certificate here.
    let strangers = ConnectOptions { proxy: options.proxy.clone(), ..ConnectOptions::default() };
    let error = client(&strangers, &[&url]).send(Call::get(url, "test")).await.expect_err("unknown");
    assert!(matches!(error, HttpError::Proxy { status: None, .. }), "{error:?}");
}

#[tokio::test]
async fn a_refusal_of_the_proxy_has_its_status_and_no_word_of_its_answer() {
    for (answer, expect, retry) in [
        ("HTTP/1.1 407 canary\r\nproxy-authenticate: canary\r\ncontent-length: 6\r\n\r\ncanary", 407, false),
        ("HTTP/1.1 403 canary\r\ncontent-length: 0\r\n\r\n", 403, false),
        ("HTTP/1.1 503 canary\r\ncontent-length: 0\r\n\r\n", 503, true),
    ] {
        let proxy = serve_http(answer).await;
        let way = via(format!("http://test:canary@{}", proxy.address), "");
        let options = ConnectOptions { proxy: way, ..ConnectOptions::default() };
        let url = url("https://llm.example/?canary");
        let outbound = client(&options, &[&url]);
        let error = outbound.send(Call::get(url.clone(), "test")).await.expect_err("refused");
        assert!(
            matches!(error, HttpError::Proxy { status: Some(found), .. } if found == expect),
            "{error:?}"
        );
        assert_eq!(error.retry(), retry);
        assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
        let steps = outbound.reach(&url).await;
        let last = steps.last().expect("a step");
        assert_eq!((last.id, last.outcome.as_ref().err()), ("proxy", Some(&error)));
    }
}

#[tokio::test]
async fn plain_http_is_refused_by_the_proxy_in_the_same_words() {
    let proxy = serve_http("HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n").await;
    let way = via(format!("http://{}", proxy.address), "");
    let options = ConnectOptions { proxy: way, ..ConnectOptions::default() };
    let url = url("http://llm.example/");
    let error = client(&options, &[&url]).send(Call::get(url, "test")).await.expect_err("refused");
    assert!(matches!(error, HttpError::Proxy { status: Some(407), .. }), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_blamed() {
    let (_bound, address) = closed_port();
    let way = via(format!("http://{address}"), "");
    let options = ConnectOptions { proxy: way, ..ConnectOptions::default() };
    let url = url("https://llm.example/");
    let outbound = client(&options, &[&url]);
    let error = outbound.send(Call::get(url.clone(), "test")).await.expect_err("closed");
    assert!(matches!(error, HttpError::Proxy { status: None, .. }), "{error:?}");
    assert!(error.retry());
    let steps = outbound.reach(&url).await;
    let last = steps.last().expect("a step");
    assert_eq!((last.id, last.outcome.as_ref().err()), ("tcp", Some(&error)));
}

#[tokio::test]
async fn listed_hosts_are_reached_without_the_proxy() {
    let server = serve_http(OK).await;
    let port = server.address.port();
    // A proxy that is not there: what answers was reached directly.
    let (_bound, address) = closed_port();
    let proxy = format!("http://{address}");
    for (list, host, direct) in [
        ("localhost", "localhost", true),
        ("*.example, 127.0.0.0/8", "127.0.0.1", true),
        (&format!("127.0.0.1:{port}"), "127.0.0.1", true),
        ("*", "localhost", true),
        // Nothing is implied, not even for this machine.
        ("", "127.0.0.1", false),
        (".localhost", "localhost", false),
        ("127.0.0.1:1", "127.0.0.1", false),
        // A network holds addresses, not names that would resolve into it.
        ("127.0.0.0/8", "localhost", false),
    ] {
        let options = ConnectOptions { proxy: via(&proxy, list), ..ConnectOptions::default() };
        let url = url(format!("http://{host}:{port}/"));
        let outcome = client(&options, &[&url]).send(Call::get(url, "test")).await;
        assert_eq!(outcome.is_ok(), direct, "{host} with {list:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_target_outside_the_policy_never_reaches_the_proxy() {
    let mut proxy = serve_http(OK).await;
    let way = via(format!("http://{}", proxy.address), "");
    let options = ConnectOptions { proxy: way, ..ConnectOptions::default() };
    let metadata = url("http://169.254.169.254/latest");
    let outbound = client(&options, &[&metadata]);
    for target in [metadata, url("http://llm.example/")] {
        let error = outbound.send(Call::get(target, "test")).await.expect_err("refused");
        assert!(matches!(error, HttpError::Denied { .. }), "{error:?}");
    }
    assert!(proxy.saw_nothing());
}

/// The environment is that of another process: this one's is shared by all tests.
#[test]
fn a_proxy_in_the_environment_is_ignored() {
    let program = std::env::current_exe().expect("this program");
    let mut command = std::process::Command::new(program);
    command.args(["--exact", "outbound::tests::an_allowed_origin_is_called_and_counted"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let output = command.env_remove("NO_PROXY").env_remove("no_proxy").output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("1 passed"), "{told}");
}
