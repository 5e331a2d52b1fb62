//! How the command line reaches the product: always through the API.
//!
//! A server that runs on the same data directory owns it, so the command speaks to it over
//! loopback. Without one, the same router is called in this process, without a socket. Either
//! way there is one code path for validation, tenants and errors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use atlas_config::{ExposeSecret, SecretString, Settings};
use atlas_domain::TenantId;
use atlas_http::{Call, Credential, EgressPolicy, Ledger, Limits, Origin, Outbound};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt;
use url::Url;

use crate::tenant_header::TENANT_HEADER;
use crate::wiring::{self, App, StartError};

/// A running server writes this beside its data, for commands on the same machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerFile {
    /// Where it listens, as a loopback URL.
    pub(crate) url: String,
}

impl ServerFile {
    /// The file's place.
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("server.json")
    }
}

/// The API, wherever it runs.
pub(crate) enum Client {
    /// In a server on this machine.
    Running { outbound: Outbound, url: Url, credential: Credential },
    /// In this process.
    Here { app: App, token: SecretString },
}

impl Client {
    /// Opens the API, calls it, and lets what was begun in this process end.
    pub(crate) async fn once<T>(
        settings: Settings,
        call: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let client = Self::open(settings).await?;
        let answer = call(&client).await;
        client.close().await;
        answer
    }

    /// Opens the data directory, or finds the server that has it.
    async fn open(settings: Settings) -> anyhow::Result<Self> {
        let data_dir = settings.data_dir.clone();
        let configured_token = settings.admin_token.clone();
        match wiring::start(settings).await {
            Ok(app) => {
                let token = app.admin_token();
                Ok(Self::Here { app, token })
            }
            Err(StartError::Store(atlas_store::StoreError::InUse { .. })) => {
                Self::running(&data_dir, configured_token).with_context(|| {
                    format!("another process has {}, and it cannot be reached", data_dir.display())
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn running(data_dir: &Path, configured: Option<SecretString>) -> anyhow::Result<Self> {
        let path = ServerFile::path(data_dir);
        let file = std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let damaged = || format!("{} is damaged; is the server running?", path.display());
        let ServerFile { url } = serde_json::from_slice(&file).with_context(damaged)?;
        let url: Url = url.parse().with_context(damaged)?;
        let token = match configured {
            Some(token) => token,
            None => {
                let path = wiring::admin_token_path(data_dir);
                let token = std::fs::read_to_string(&path).with_context(|| {
                    format!("set ADMIN_TOKEN to the server's token: {} cannot be read", path.display())
                })?;
                token.trim().to_owned().into()
            }
        };
        let origin = Origin::of(&url)?;
        let credential = Credential::bearer(origin.clone(), token.expose_secret())?;
        let outbound = Outbound::new(
            EgressPolicy::allow([origin]),
            &atlas_http::ConnectOptions::default(),
            Arc::new(Ledger::default()),
        )?;
        Ok(Self::Running { outbound, url, credential })
    }

    /// Posts JSON and returns the JSON answer; a problem document becomes an error.
    pub(crate) async fn post(&self, path: &str, tenant: &TenantId, body: &Value) -> anyhow::Result<Value> {
        self.call(path, tenant, Some(body)).await
    }

    /// Gets a JSON answer; a problem document becomes an error.
    pub(crate) async fn get(&self, path: &str, tenant: &TenantId) -> anyhow::Result<Value> {
        self.call(path, tenant, None).await
    }

    async fn call(&self, path: &str, tenant: &TenantId, body: Option<&Value>) -> anyhow::Result<Value> {
        let (status, answer) = match self {
            Self::Running { outbound, url, credential } => {
                let limits = Limits { first_token: ANSWER_TIME, idle: ANSWER_TIME, total: None };
                let call = match body {
                    Some(body) => Call::post_json(url.join(path)?, "command line", body)?,
                    None => Call::get(url.join(path)?, "command line"),
                };
                let call =
                    call.authorized(credential)?.header(TENANT_HEADER, tenant.as_str())?.limits(limits);
                let reply = outbound.send(call).await?;
                (reply.status(), reply.bytes(ANSWER_LIMIT_BYTES).await?)
            }
            Self::Here { app, token } => {
                let request = if body.is_some() { Request::post(path) } else { Request::get(path) };
                let request = request
                    .header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()))
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(TENANT_HEADER, tenant.as_str())
                    .body(match body {
                        Some(body) => Body::from(serde_json::to_vec(body)?),
                        None => Body::empty(),
                    })?;
                let answer = crate::router(app.clone()).oneshot(request).await?;
                let status = answer.status();
                (status, axum::body::to_bytes(answer.into_body(), ANSWER_LIMIT_BYTES).await?)
            }
        };
        read_answer(status, &answer)
    }

    /// Finishes background work of an API in this process.
    pub(crate) async fn close(self) {
        if let Self::Here { app, .. } = self {
            app.shutdown().await;
        }
    }
}

const ANSWER_LIMIT_BYTES: usize = 64 << 20;

/// A batch of texts to embed or a backup takes its time; nobody waits for a first token here.
const ANSWER_TIME: Duration = Duration::from_secs(3600);

/// What the API refused, and why.
#[derive(Debug, thiserror::Error)]
#[error("{detail}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub(crate) struct Refused {
    pub(crate) detail: String,
    pub(crate) hint: Option<String>,
    /// The field it is about, as a path such as `items[3].title`.
    pub(crate) field: Option<String>,
}

fn read_answer(status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
    let answer: Value =
        if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap_or_default() };
    if status.is_success() {
        return Ok(answer);
    }
    let part = |name: &str| answer[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let detail = part("detail").or(part("title")).unwrap_or_else(|| format!("HTTP {}", status.as_u16()));
    Err(Refused { detail, hint: part("hint"), field: part("field") }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_reads_as_detail_and_hint() {
        let body = br#"{"title":"No","detail":"line 3: title is missing","hint":"add it"}"#;
        let error = read_answer(StatusCode::UNPROCESSABLE_ENTITY, body).expect_err("a failure");
        assert_eq!(error.to_string(), "line 3: title is missing (add it)");
    }

    #[test]
    fn a_failure_without_a_document_still_says_its_status() {
        let error = read_answer(StatusCode::BAD_GATEWAY, b"<html>").expect_err("a failure");
        assert_eq!(error.to_string(), "HTTP 502");
    }
}
