//! Connections: who opens them, and what is set on each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use super::failure::Failure;

/// Statements that a connection keeps prepared. Filters make many; what is beyond is prepared
/// again when it comes.
const PREPARED: usize = 256;

/// An open connection to the database server, already secured where it has to be.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a client sends to begin with TLS: the length of the message, and a number that is no
/// version of the protocol.
pub const TLS_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
/// What a server answers that speaks TLS.
pub const TLS_AGREED: u8 = b'S';
/// The protocol's name in the handshake.
pub const TLS_PROTOCOL: &[u8] = b"postgresql";

/// What opening a connection gives.
pub type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Opens connections to one database server.
///
/// The store makes no socket: whoever knows where connections may go hands them in. It is called
/// on the store's own runtime, and must not wait longer than some seconds.
pub trait Connect: Send + Sync {
    /// Opens one.
    fn connect(&self) -> Connecting<'_>;
}

/// Which database, as whom.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Host, port and database, for messages.
    pub place: String,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// The role's password; belongs to the server that [`Connect`] reaches.
    pub password: Option<SecretString>,
    /// Most connections at a time.
    pub connections: usize,
}

/// One connection with what it has prepared.
pub(super) struct Session {
    client: Client,
    prepared: RefCell<HashMap<String, Statement>>,
    wire: JoinHandle<()>,
}

/// Parameters of a statement.
pub(super) type Params = Vec<Box<dyn ToSql + Sync>>;

pub(super) fn params<const N: usize>(values: [Box<dyn ToSql + Sync>; N]) -> Params {
    values.into()
}

impl Session {
    pub(super) async fn open(connect: &dyn Connect, options: &PostgresOptions) -> Result<Self, Failure> {
        let stream = connect.connect().await.map_err(Failure::Unreachable)?;
        let mut config = Config::new();
        config.user(&options.user).dbname(&options.database).application_name("atlasai-tp");
        // What has to be secured was secured by whoever opened the stream.
        config.ssl_mode(SslMode::Disable);
        if let Some(password) = &options.password {
            config.password(password.expose_secret());
        }
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        let wire = Handle::current().spawn(async move {
            // Whoever waits for an answer is told; nobody else needs to know.
            let _ = connection.await;
        });
        let session = Self { client, prepared: RefCell::default(), wire };
        session.client.batch_execute(SETTINGS).await?;
        Ok(session)
    }

    /// Whether it is known to be of no use.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements without parameters.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Failure> {
        #[cfg(test)]
        let sql = &*super::tests::without_tenant(sql);
        if let Some(statement) = self.prepared.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        let mut prepared = self.prepared.borrow_mut();
        if prepared.len() >= PREPARED {
            prepared.clear();
        }
        prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) async fn rows(&self, statement: &Statement, values: &Params) -> Result<Vec<Row>, Failure> {
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(AsRef::as_ref).collect();
        Ok(self.client.query(statement, &values).await?)
    }

    /// Prepares and asks.
    pub(super) async fn query(&self, sql: &str, values: &Params) -> Result<Vec<Row>, Failure> {
        self.rows(&self.prepare(sql).await?, values).await
    }

    /// Prepares and runs; gives the number of rows it was about.
    pub(super) async fn execute(&self, sql: &str, values: &Params) -> Result<u64, Failure> {
        let statement = self.prepare(sql).await?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(AsRef::as_ref).collect();
        Ok(self.client.execute(&statement, &values).await?)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A connection whose server is silent would wait for an answer for ever.
        self.wire.abort();
    }
}

/// On every connection. The extension's functions are found wherever it was installed; no other
/// schema is looked into. A role that was given a stronger `synchronous_commit` keeps it.
const SETTINGS: &str = "
SELECT set_config('search_path', coalesce((
    SELECT quote_ident(n.nspname) FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'), 'public'), false);
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
SET statement_timeout = '15s';
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '30s';
SET client_min_messages = 'warning';
SET jit = off;
";
