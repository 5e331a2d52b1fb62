//! A PostgreSQL database for a test: made, migrated by an owner, served by another role, dropped.
//!
//! `ATLAS_TEST_POSTGRES` is the URL of a server with pgvector, as a superuser without a password,
//! such as `postgres://postgres@127.0.0.1:15432/postgres`.

use std::sync::atomic::{AtomicU32, Ordering};

use atlas_store::{Connect, Connecting, PostgresOptions, PostgresStore, StoreError, Stream};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls};

const VARIABLE: &str = "ATLAS_TEST_POSTGRES";

/// An empty store with its two roles. Dropped with everything in it.
#[derive(Debug)]
pub struct Database {
    address: String,
    admin: String,
    name: String,
}

impl Database {
    /// Makes one, or prints why it cannot be had.
    pub fn create(test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        #[expect(clippy::disallowed_methods, reason = "a test is told by its runner where the database is")]
        let Ok(url) = std::env::var(VARIABLE) else {
            eprintln!("SKIPPED: {test}: {VARIABLE} names no PostgreSQL");
            return None;
        };
        let config: Config = url.parse().expect("ATLAS_TEST_POSTGRES is a URL of PostgreSQL");
        let host = match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            _ => panic!("{VARIABLE} names no host"),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = Self {
            address: format!("{host}:{port}"),
            admin: config.get_user().expect("ATLAS_TEST_POSTGRES names a user").to_owned(),
            name: format!("atlas_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
        };
        let (name, owner, server) = (&database.name, database.owner(), database.server());
        database.admin_of("postgres", &format!("CREATE ROLE {owner} LOGIN"));
        database.admin_of("postgres", &format!("CREATE ROLE {server} LOGIN"));
        database.admin_of("postgres", &format!("CREATE DATABASE {name} OWNER {owner}"));
        database.admin("CREATE EXTENSION vector");
        database.migrate().expect("the tables are made");
        Some(database)
    }

    /// The role that owns the tables.
    pub fn owner(&self) -> String {
        format!("{}_owner", self.name)
    }

    /// The role that serves.
    pub fn server(&self) -> String {
        format!("{}_server", self.name)
    }

    /// The URL by which `user` reaches it.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@{}/{}", self.address, self.name)
    }

    /// Host and port of the server.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Options to work with it as `user`.
    pub fn options(&self, user: &str) -> PostgresOptions {
        PostgresOptions {
            place: format!("{}/{}", self.address, self.name),
            database: self.name.clone(),
            user: user.to_owned(),
            password: None,
            connections: 8,
        }
    }

    /// Connections to its server.
    pub fn connect(&self) -> Box<dyn Connect> {
        Box::new(Loopback(self.address.clone()))
    }

    /// Brings the tables to this version.
    pub fn migrate(&self) -> Result<u32, StoreError> {
        PostgresStore::migrate(self.connect(), self.options(&self.owner()), &self.server())
    }

    /// Opens it as the role that serves.
    pub fn open(&self) -> PostgresStore {
        PostgresStore::open(self.connect(), self.options(&self.server())).expect("the store opens")
    }

    /// Removes every tenant.
    pub fn empty(&self) {
        self.admin(
            "TRUNCATE atlasai.tenants, atlasai.records, atlasai.tombstones, atlasai.chunks, atlasai.vectors",
        );
    }

    /// Runs SQL in it as the superuser.
    pub fn admin(&self, sql: &str) {
        self.admin_of(&self.name, sql);
    }

    /// The first column of the first row, as the superuser sees it.
    pub fn admin_value(&self, sql: &str) -> String {
        self.on(&self.name, async |client| {
            let rows = client.query(sql, &[]).await.expect(sql);
            rows.first().and_then(|row| row.get::<_, Option<String>>(0)).unwrap_or_default()
        })
    }

    fn admin_of(&self, database: &str, sql: &str) {
        self.on(database, async |client| client.batch_execute(sql).await.expect(sql));
    }

    fn on<T>(&self, database: &str, work: impl AsyncFn(&Client) -> T) -> T {
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let stream = TcpStream::connect(&self.address).await.expect("PostgreSQL listens");
            let mut config = Config::new();
            config.user(&self.admin).dbname(database);
            let (client, connection) = config.connect_raw(stream, NoTls).await.expect("a superuser");
            let wire = tokio::spawn(connection);
            let answer = work(&client).await;
            drop(client);
            let _ = wire.await;
            answer
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A panic while a panic is unwound would hide the first one.
        if std::thread::panicking() {
            return;
        }
        self.admin_of("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        for role in [self.owner(), self.server()] {
            self.admin_of("postgres", &format!("DROP ROLE {role}"));
        }
    }
}

struct Loopback(String);

impl Connect for Loopback {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let stream = TcpStream::connect(&self.0).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
