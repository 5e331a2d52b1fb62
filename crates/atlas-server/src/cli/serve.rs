//! `serve`: the server in the foreground, and a banner that is true.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use atlas_config::{Live, Origin, Settings};
use atlas_retrieval::EmbeddingState;
use tokio::net::TcpListener;
use url::Url;

use super::Output;
use super::arguments::ServeArguments;
use super::client::ServerFile;
use crate::wiring::{self, App};
use crate::{demo, server};

/// Serves until asked to end.
pub(crate) async fn run(arguments: ServeArguments, live: Live, output: &mut Output) -> anyhow::Result<()> {
    let Settings { listen, data_dir, .. } = live.snapshot().settings.clone();
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another with --listen or TP_LISTEN"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let app = wiring::start_live(live).await?;
    let url = local_url(address);
    if arguments.demo {
        demo::load(&app).await.context("the demo data cannot be loaded")?;
    }
    let server_file = ServerFile::path(&data_dir);
    // A disk that is full must not keep a server from answering what it can.
    if let Err(error) = fs::write(&server_file, serde_json::to_vec(&ServerFile { url: url.to_string() })?) {
        tracing::warn!(%error, file = %server_file.display(),
            "commands on this machine will not find this server");
    }
    for line in banner(&app, &url, arguments.demo) {
        output.line(&line)?;
    }
    let served = server::serve(listener, app.clone(), server::shutdown_signal()).await;
    // Stale is worse than absent: the next command would call a server that is gone.
    let _ = fs::remove_file(&server_file);
    app.shutdown().await;
    served.context("the server stopped")
}

/// The address as a client on this machine reaches it.
fn local_url(address: SocketAddr) -> Url {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    Url::parse(&format!("http://{address}")).expect("a socket address makes a URL")
}

fn banner(app: &App, url: &Url, demo: bool) -> Vec<String> {
    let snapshot = app.snapshot();
    let settings = &snapshot.settings;
    let url = url.as_str().trim_end_matches('/');
    let token_file = wiring::admin_token_path(&settings.data_dir);
    let (token, token_expression) = match &settings.admin_token {
        Some(_) => {
            let origin = settings.origin("ADMIN_TOKEN");
            (format!("ADMIN_TOKEN ({origin})"), "$ADMIN_TOKEN".to_owned())
        }
        None => (token_file.display().to_string(), format!("$(cat {})", token_file.display())),
    };
    let embedding = match app.retrieval().embedding() {
        EmbeddingState::Ready { space } | EmbeddingState::Failing { space, .. } => {
            format!("{} {} ({} numbers)", space.engine, space.model, space.dimension)
        }
        EmbeddingState::KeywordsOnly => "keywords only".to_owned(),
    };
    let status = app.inference().status();
    let provider = match (&status.served_by, &status.problem) {
        (Some(served_by), _) => format!("{} {} at {}", served_by.provider, served_by.model, served_by.host),
        (None, Some(problem)) => format!("off: {}", problem.message),
        (None, None) => "not configured: AI answers are off, search works (set BYOC_PROVIDER)".to_owned(),
    };
    let mut lines = vec![
        format!("AtlasAI BYOC {} at {url}", env!("CARGO_PKG_VERSION")),
        format!("  data        {}", settings.data_dir.display()),
        format!("  admin token {token}"),
        format!("  embeddings  {embedding}"),
        format!("  provider    {provider}"),
    ];
    for name in &settings.unknown {
        lines.push(format!("  warning     {name} is no setting of this program; is it misspelt?"));
    }
    let command = command(settings);
    let query = if demo { "checkout cannot get a database connection" } else { "disk is filling up" };
    lines.push("Try:".to_owned());
    if demo {
        lines.push(format!(
            "  curl -s {url}/api/incidents?status=open -H \"Authorization: Bearer {token_expression}\""
        ));
    } else {
        lines.push(format!("  {command} import runbooks ./your-runbooks"));
    }
    lines.push(format!("  {command} search \"{query}\""));
    lines.push(format!("  curl -s {url}/api/ai/status -H \"Authorization: Bearer {token_expression}\""));
    lines.push("ready".to_owned());
    lines
}

/// How this program is called from here, with the directory if that was an argument: the lines
/// of the banner can be pasted.
fn command(settings: &Settings) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_else(|_| "atlasai-tp".into());
    let program = program.strip_prefix(here).unwrap_or(&program).display();
    match settings.origin("TP_DATA_DIR") {
        Origin::CommandLine => format!("{program} --data-dir {}", settings.data_dir.display()),
        _ => program.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_everywhere_is_reached_over_loopback() {
        let url = |text: &str| local_url(text.parse().expect("an address")).to_string();
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("[::]:8080"), "http://[::1]:8080/");
        assert_eq!(url("10.0.0.7:80"), "http://10.0.0.7/");
    }
}
