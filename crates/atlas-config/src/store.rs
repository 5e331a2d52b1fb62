//! Where records are kept, from text to typed values.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use crate::reader::Reader;
use crate::{DatabaseRole, FileContent, PostgresSettings, StoreTls};

/// PostgreSQL's own.
const PORT: u16 = 5432;
const EXAMPLE: &str = "use for example postgres://atlasai_server@db.internal:5432/atlasai, or sqlite";

/// What all databases of `TP_STORE` have in common.
struct Common {
    password: Option<SecretString>,
    owner: Option<DatabaseRole>,
    tls: StoreTls,
    ca: Option<FileContent>,
    connections: usize,
}

impl Reader<'_> {
    /// `TP_STORE` and what belongs to it. Everything is read in any case, so that it is shown.
    pub(crate) fn postgres(&mut self) -> Vec<PostgresSettings> {
        let words = [("auto", StoreTls::Auto), ("require", StoreTls::Require), ("off", StoreTls::Off)];
        let owner = self.text("TP_STORE_MIGRATE_USER");
        let owner_password = self.password("TP_STORE_MIGRATE_PASSWORD");
        let common = Common {
            password: self.password("TP_STORE_PASSWORD"),
            owner: owner.map(|user| DatabaseRole { user, password: owner_password }),
            tls: self.one_of("TP_STORE_TLS", &words),
            ca: self.content("TP_STORE_CA"),
            connections: self.number("TP_STORE_CONNECTIONS").unwrap_or(1) as usize,
        };
        let text = self.required("TP_STORE");
        if text.eq_ignore_ascii_case("sqlite") {
            return Vec::new();
        }
        let mut databases: Vec<PostgresSettings> = Vec::new();
        for url in text.split(',') {
            let Some(database) = self.database(url.trim(), &common) else { return Vec::new() };
            let place = |of: &PostgresSettings| (of.host.clone(), of.port, of.database.clone());
            if databases.iter().any(|other| place(other) == place(&database)) {
                self.refuse::<()>("TP_STORE", "names a database twice", "name each once");
                return Vec::new();
            }
            databases.push(database);
        }
        databases
    }

    fn database(&mut self, url: &str, common: &Common) -> Option<PostgresSettings> {
        // The value is not repeated in an error: people put passwords into URLs.
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
        let Some(url) = url else {
            return self.refuse("TP_STORE", "is neither sqlite nor a URL of PostgreSQL", EXAMPLE);
        };
        if url.password().is_some() {
            return self.refuse("TP_STORE", "holds a password", "put it into TP_STORE_PASSWORD");
        }
        if url.query().is_some() || url.fragment().is_some() {
            let fix = "end it with the database; TLS is TP_STORE_TLS and TP_STORE_CA";
            return self.refuse("TP_STORE", "holds a query or fragment", fix);
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().ok()?;
            (!text.is_empty()).then(|| text.into_owned())
        };
        let database = decoded(url.path().trim_start_matches('/')).filter(|name| !name.contains('/'));
        let host = url.host_str().filter(|host| !host.is_empty());
        let (Some(host), Some(user), Some(database)) = (host, decoded(url.username()), database) else {
            return self.refuse("TP_STORE", "does not name a user, a host and a database", EXAMPLE);
        };
        if host.contains("%2F") || host.contains("%2f") {
            let fix = "use the host's name or address: connections go where the egress policy can see them";
            return self.refuse("TP_STORE", "names a socket file", fix);
        }
        if common.owner.as_ref().is_some_and(|owner| owner.user == user) {
            let fix = "let one role own the tables and another serve from them";
            return self.refuse("TP_STORE_MIGRATE_USER", "is the user of TP_STORE", fix);
        }
        Some(PostgresSettings {
            host: host.to_owned(),
            port: url.port().unwrap_or(PORT),
            database,
            server: DatabaseRole { user, password: common.password.clone() },
            owner: common.owner.clone(),
            tls: common.tls,
            ca: common.ca.clone(),
            connections: common.connections,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::{PostgresSettings, Settings, StoreTls};

    fn read(values: &[(&'static str, &'static str)]) -> Result<Vec<PostgresSettings>, String> {
        let source: BTreeMap<_, _> = values.iter().copied().collect();
        Settings::read(&source).map(|settings| settings.postgres).map_err(|error| error.to_string())
    }

    #[test]
    fn records_are_in_the_data_directory_unless_a_database_is_named() {
        for values in [&[][..], &[("TP_STORE", "SQLite"), ("TP_STORE_PASSWORD", "x")]] {
            assert_eq!(read(values).expect("reads").len(), 0);
        }
    }

    #[test]
    fn a_url_names_everything_but_the_secrets() {
        let read = |values: &[_]| read(values).expect("reads").pop().expect("a database");
        let short = read(&[("TP_STORE", "postgres://serve@db.internal/atlas")]);
        assert_eq!(
            (short.host.as_str(), short.port, short.database.as_str()),
            ("db.internal", 5432, "atlas")
        );
        assert_eq!((short.server.user.as_str(), short.tls, short.connections), ("serve", StoreTls::Auto, 8));
        assert!(short.owner.is_none());
        let long = read(&[
            ("TP_STORE", "postgresql://a%40b@[fd00::1]:6432/d%20b"),
            ("TP_STORE_PASSWORD", "p w"),
            ("TP_STORE_TLS", "require"),
            ("TP_STORE_MIGRATE_USER", "owner"),
        ]);
        assert_eq!((long.host.as_str(), long.port, long.database.as_str()), ("[fd00::1]", 6432, "d b"));
        assert_eq!((long.server.user.as_str(), long.tls), ("a@b", StoreTls::Require));
        assert!(long.owner.is_some_and(|owner| owner.user == "owner"));
        assert!(!format!("{:?}", long.server).contains("p w"));
    }

    #[test]
    fn tenants_are_spread_over_a_list() {
        let both = read(&[("TP_STORE", "postgres://u@a/d, postgres://u@b/d")]).expect("reads");
        assert_eq!(both.iter().map(|database| database.host.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let twice = read(&[("TP_STORE", "postgres://u@a/d,postgres://v@a:5432/d")]);
        assert!(twice.expect_err("refused").contains("twice"));
        assert!(read(&[("TP_STORE", "postgres://u@a/d,")]).is_err());
    }

    #[test]
    fn what_is_no_database_is_refused_and_not_repeated() {
        for (url, expect) in [
            ("mysql://u@h/d", "neither sqlite nor"),
            ("secret-typed-here", "neither sqlite nor"),
            ("postgres://u:secret@h/d", "TP_STORE_PASSWORD"),
            ("postgres://u@h/d?sslmode=disable&secret", "TP_STORE_TLS"),
            ("postgres://h/d", "does not name a user"),
            ("postgres://u@h", "does not name a user"),
            ("postgres://u@h/a/b", "does not name a user"),
            ("postgres:///secret", "does not name a user"),
            ("postgres://u@%2Frun%2Fsecret/d", "socket"),
        ] {
            let error = read(&[("TP_STORE", url)]).expect_err("refused");
            assert!(
                error.contains(expect) && !error.contains("secret-") && !error.contains(":secret"),
                "{url}: {error}"
            );
        }
        let same = read(&[("TP_STORE", "postgres://u@h/d"), ("TP_STORE_MIGRATE_USER", "u")]);
        assert!(same.expect_err("refused").contains("another serve"));
    }
}
