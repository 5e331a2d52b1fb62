//! Where records are kept: in the data directory, or in a database that other servers use too.

use std::path::PathBuf;
use std::sync::Arc;

use atlas_config::{DatabaseRole, EgressMode, PostgresSettings, Settings, StoreTls};
use atlas_http::{AddressClass, ConnectOptions, EgressPolicy, HttpError, Ledger, Origin, Outbound, StartTls};
use atlas_store::{
    Connect, Connecting, DataDirectory, PostgresOptions, PostgresStore, SpreadStore, SqliteStore, Store,
    StoreError, Stream, TLS_AGREED, TLS_PROTOCOL, TLS_REQUEST,
};

/// What the ledger counts the database's bytes under.
const PURPOSE: &str = "store";

/// The store, and what this server needs beside it.
pub(crate) struct Records {
    pub(crate) store: Arc<dyn Store>,
    /// The same store where it is the embedded one, which has backups of its own.
    pub(crate) embedded: Option<Arc<SqliteStore>>,
    /// Where indexes derived from it lie. A database of its own name has a directory of its own:
    /// change numbers of one store mean nothing in another.
    pub(crate) index_dir: PathBuf,
    /// Keeps other processes from the data directory where the store itself does not.
    _claim: Option<DataDirectory>,
}

impl Records {
    /// Opens what the settings name. Blocks.
    pub(crate) fn open(settings: &Settings, ledger: Arc<Ledger>) -> Result<Self, StoreError> {
        let data_dir = &settings.data_dir;
        if settings.postgres.is_empty() {
            let store = Arc::new(SqliteStore::open(data_dir)?);
            let embedded = Some(Arc::clone(&store));
            return Ok(Self { store, embedded, index_dir: data_dir.join("index"), _claim: None });
        }
        let claim = DataDirectory::claim(data_dir)?;
        let databases = Databases::new(settings, ledger)?;
        if settings.postgres.iter().all(|database| database.owner.is_some()) {
            databases.migrate()?;
        }
        let store = databases.open()?;
        let index_dir = data_dir.join(format!("index-{}", store.id()));
        Ok(Self { store: Arc::new(store), embedded: None, index_dir, _claim: Some(claim) })
    }
}

/// The databases that the settings name.
pub(crate) struct Databases(Vec<Database>);

impl Databases {
    pub(crate) fn new(settings: &Settings, ledger: Arc<Ledger>) -> Result<Self, StoreError> {
        let database = |postgres| Database::new(settings, postgres, Arc::clone(&ledger));
        settings.postgres.iter().map(database).collect::<Result<_, _>>().map(Self)
    }

    /// Opens them as one store, as the role that serves.
    pub(crate) fn open(&self) -> Result<SpreadStore, StoreError> {
        let open = |database: &Database| Ok((database.name(), database.open()?));
        self.0.iter().map(open).collect::<Result<_, _>>().map(SpreadStore::new)
    }

    /// Brings the tables to this version, as the role that owns them. Says what was found.
    pub(crate) fn migrate(&self) -> Result<Vec<(String, u32)>, StoreError> {
        self.0.iter().map(|database| Ok((database.name(), database.migrate()?))).collect()
    }

    /// Builds graphs over the vectors of large tenants, as the role that owns the tables.
    pub(crate) fn index(&self) -> Result<Vec<String>, StoreError> {
        let mut done = Vec::new();
        for database in &self.0 {
            done.extend(database.index()?);
        }
        Ok(done)
    }
}

/// A database as the settings name it: the one origin that is connected to, and by whom.
#[derive(Clone)]
struct Database {
    outbound: Outbound,
    origin: Origin,
    place: String,
    settings: PostgresSettings,
}

impl Database {
    fn new(
        settings: &Settings,
        postgres: &PostgresSettings,
        ledger: Arc<Ledger>,
    ) -> Result<Self, StoreError> {
        let place = format!("PostgreSQL at {}:{}/{}", postgres.host, postgres.port, postgres.database);
        let refused = |reason: String, fix: &str| StoreError::Refused {
            place: place.clone(),
            reason,
            fix: fix.to_owned(),
        };
        let unusable = |error: HttpError| refused(error.to_string(), "correct TP_STORE or TP_STORE_CA");
        let plain = Origin::stream(&postgres.host, postgres.port, false).map_err(unusable)?;
        let secured = match postgres.tls {
            StoreTls::Auto => plain.class() != AddressClass::Loopback,
            StoreTls::Require => true,
            StoreTls::Off => false,
        };
        let origin = Origin::stream(&postgres.host, postgres.port, secured).map_err(unusable)?;
        let policy = match settings.network.egress {
            EgressMode::Settings => EgressPolicy::allow([origin.clone()]),
            EgressMode::Private => EgressPolicy::allow([origin.clone()]).private_only(),
            EgressMode::Off => {
                let reason = "TP_EGRESS is off, and a database is reached over the network".to_owned();
                return Err(refused(reason, "set TP_EGRESS to private, or TP_STORE to sqlite"));
            }
        };
        let options = ConnectOptions {
            ca_bundle: postgres.ca.as_ref().map(|file| file.bytes.to_vec()),
            ..ConnectOptions::default()
        };
        let outbound = Outbound::new(policy, &options, ledger).map_err(unusable)?;
        Ok(Self { outbound, origin, place, settings: postgres.clone() })
    }

    /// What it is called where tenants are spread.
    fn name(&self) -> String {
        let PostgresSettings { host, port, database, .. } = &self.settings;
        format!("{host}:{port}/{database}")
    }

    fn open(&self) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(Box::new(self.clone()), self.options(&self.settings.server))
    }

    fn options(&self, role: &DatabaseRole) -> PostgresOptions {
        PostgresOptions {
            place: self.place.clone(),
            database: self.settings.database.clone(),
            user: role.user.clone(),
            password: role.password.clone(),
            connections: self.settings.connections,
        }
    }

    fn migrate(&self) -> Result<u32, StoreError> {
        let options = self.options(self.owner()?);
        PostgresStore::migrate(Box::new(self.clone()), options, &self.settings.server.user)
    }

    fn index(&self) -> Result<Vec<String>, StoreError> {
        PostgresStore::index(Box::new(self.clone()), self.options(self.owner()?))
    }

    fn owner(&self) -> Result<&DatabaseRole, StoreError> {
        self.settings.owner.as_ref().ok_or_else(|| StoreError::Refused {
            place: self.place.clone(),
            reason: "no role is named that may change its tables".to_owned(),
            fix: "set TP_STORE_MIGRATE_USER and TP_STORE_MIGRATE_PASSWORD".to_owned(),
        })
    }
}

impl Connect for Database {
    fn connect(&self) -> Connecting<'_> {
        let start = StartTls { ask: TLS_REQUEST, agree: TLS_AGREED, protocol: TLS_PROTOCOL };
        Box::pin(async move {
            let stream = self.outbound.open(&self.origin, start, PURPOSE).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
