//! Tables, their versions, and who may do what with them.
//!
//! Two roles: one owns the tables and changes them (`migrate`), the other reads and writes rows
//! (the server). Row policies bind neither a superuser nor, unless forced, an owner; so the server
//! refuses to work as a role that could set them aside.

use super::connect::{Session, params};
use super::failure::Failure;
use crate::StoreError;

/// One script per version; `atlasai.store` counts the ones the database has seen.
const MIGRATIONS: [&str; 1] = [include_str!("v1.sql")];

/// Taken while tables are changed, so that two who begin at once do it one after the other.
const LOCK: i64 = 0x61_74_6c_61_73_61_69; // "atlasai"

/// Iterative index scans came with it.
const LEAST_PGVECTOR: (u32, u32) = (0, 8);

/// The tables with a tenant's content; `tenants` is kept apart as they are, and has a directory.
const CONTENT: [&str; 5] = ["records", "tombstones", "chunks", "vectors", "turns"];

/// What a database says about itself.
pub(super) struct Examined {
    /// Made with the tables, never changed: derived files carry it, because numbers of one
    /// database mean nothing in another.
    pub(super) id: String,
}

/// Brings the tables to the current version and grants `serving` what a server needs. Gives the
/// version that was found.
pub(super) async fn migrate(session: &Session, place: &str, serving: &str) -> Result<u32, Failure> {
    // Building a table or an index may take as long as it takes.
    session.run("SET statement_timeout = 0; SET lock_timeout = '60s'").await?;
    session.execute("SELECT pg_advisory_lock($1)", &params([Box::new(LOCK)])).await?;
    let outcome = migrate_alone(session, place, serving).await;
    // Released with the connection in any case.
    session.execute("SELECT pg_advisory_unlock($1)", &params([Box::new(LOCK)])).await?;
    outcome
}

async fn migrate_alone(session: &Session, place: &str, serving: &str) -> Result<u32, Failure> {
    extension(session, place).await?;
    let refused = |reason: String, fix: String| -> Failure {
        StoreError::Refused { place: place.to_owned(), reason, fix }.into()
    };
    let role = params([Box::new(serving.to_owned())]);
    let rows = session
        .query("SELECT quote_ident($1::text), EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1::text), $1::text = current_user::text", &role)
        .await?;
    let (quoted, exists, is_owner) = match rows.first() {
        Some(row) => (row.try_get::<_, String>(0)?, row.try_get::<_, bool>(1)?, row.try_get::<_, bool>(2)?),
        None => return Err(Failure::Odd("a question without an answer")),
    };
    if is_owner {
        return Err(refused(
            format!(
                "{serving} cannot own the tables and serve from them: an owner can set row policies aside"
            ),
            "give TP_STORE another user than TP_STORE_MIGRATE_USER".to_owned(),
        ));
    }
    if !exists {
        return Err(refused(
            format!("there is no role {serving}, which TP_STORE serves as"),
            format!("run: CREATE ROLE {quoted} LOGIN PASSWORD '...' NOSUPERUSER NOBYPASSRLS"),
        ));
    }

    session
        .run(
            "CREATE SCHEMA IF NOT EXISTS atlasai;
             CREATE TABLE IF NOT EXISTS atlasai.store (
                 only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), version integer NOT NULL, id text NOT NULL);
             INSERT INTO atlasai.store (version, id) VALUES (0, replace(gen_random_uuid()::text, '-', ''))
                 ON CONFLICT DO NOTHING",
        )
        .await?;
    let found = version(session).await?;
    if found as usize > MIGRATIONS.len() {
        return Err(StoreError::Newer { found, known: MIGRATIONS.len() as u32 }.into());
    }
    for (done, script) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let sql = format!("BEGIN; {script}; UPDATE atlasai.store SET version = {}; COMMIT", done + 1);
        session.run(&sql).await?;
    }
    let content = CONTENT.map(|table| format!("atlasai.{table}")).join(", ");
    session
        .run(&format!(
            "BEGIN;
             GRANT USAGE ON SCHEMA atlasai TO {quoted};
             GRANT SELECT ON atlasai.store TO {quoted};
             GRANT SELECT, INSERT, UPDATE ON atlasai.tenants TO {quoted};
             GRANT SELECT, INSERT, UPDATE, DELETE ON {content} TO {quoted};
             COMMIT"
        ))
        .await?;
    Ok(found)
}

async fn extension(session: &Session, place: &str) -> Result<(), Failure> {
    let installed = "SELECT e.extversion FROM pg_extension e WHERE e.extname = 'vector'";
    let no_values = params([]);
    let mut rows = session.query(installed, &no_values).await?;
    if rows.is_empty() {
        // Only a superuser may, in most installations.
        if let Err(Failure::Sql(error)) = session.run("CREATE EXTENSION IF NOT EXISTS vector").await {
            let said =
                error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned());
            return Err(StoreError::Refused {
                place: place.to_owned(),
                reason: format!("the extension pgvector is missing ({said})"),
                fix: "as a superuser of this database, run: CREATE EXTENSION vector".to_owned(),
            }
            .into());
        }
        rows = session.query(installed, &no_values).await?;
    }
    let version: String = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < LEAST_PGVECTOR {
        return Err(StoreError::Refused {
            place: place.to_owned(),
            reason: format!("pgvector {version} is too old, 0.8 is the first that filters well"),
            fix: "install pgvector 0.8 or newer, then run: ALTER EXTENSION vector UPDATE".to_owned(),
        }
        .into());
    }
    Ok(())
}

async fn version(session: &Session) -> Result<u32, Failure> {
    let rows = session.query("SELECT s.version FROM atlasai.store s", &params([])).await?;
    let version: i32 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
    u32::try_from(version).map_err(|_| Failure::Odd("the version is negative"))
}

/// Refuses to serve from a database in which tenants would not be kept apart, or which this
/// version does not know.
pub(super) async fn examine(session: &Session, place: &str) -> Result<Examined, Failure> {
    let refused = |reason: String, fix: String| -> Failure {
        StoreError::Refused { place: place.to_owned(), reason, fix }.into()
    };
    let role = session
        .query(
            "SELECT current_user::text, quote_ident(current_user::text),
                 (SELECT string_agg(r.rolname::text, ', ') FROM pg_roles r
                  WHERE r.rolsuper AND pg_has_role(current_user, r.oid, 'MEMBER')),
                 (SELECT string_agg(r.rolname::text, ', ') FROM pg_roles r
                  WHERE r.rolbypassrls AND pg_has_role(current_user, r.oid, 'MEMBER')),
                 (SELECT string_agg(DISTINCT pg_get_userbyid(c.relowner)::text, ', ') FROM pg_class c
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'atlasai' AND pg_has_role(current_user, c.relowner, 'MEMBER')),
                 current_setting('fsync'), current_setting('full_page_writes')",
            &params([]),
        )
        .await?;
    let Some(role) = role.first() else { return Err(Failure::Odd("a question without an answer")) };
    let (user, quoted): (String, String) = (role.try_get(0)?, role.try_get(1)?);
    let another = format!(
        "run: CREATE ROLE atlasai_server LOGIN PASSWORD '...' NOSUPERUSER NOBYPASSRLS; name it in TP_STORE, and let \
         the owner run `atlasai-tp migrate`; or take the privilege away: ALTER ROLE {quoted}"
    );
    if role.try_get::<_, Option<String>>(2)?.is_some() {
        return Err(refused(
            format!("{user} is a superuser or may become one, and row policies do not bind a superuser"),
            format!("{another} NOSUPERUSER"),
        ));
    }
    if role.try_get::<_, Option<String>>(3)?.is_some() {
        return Err(refused(
            format!("{user} may bypass row policies (BYPASSRLS), by itself or by a role it is a member of"),
            format!("{another} NOBYPASSRLS"),
        ));
    }
    if let Some(owner) = role.try_get::<_, Option<String>>(4)? {
        return Err(refused(
            format!(
                "{user} owns the tables of this store (as {owner}), and an owner can switch row policies off"
            ),
            format!(
                "let another role own them, run: REASSIGN OWNED BY {quoted} TO atlasai_owner; \
                 then let that one run `atlasai-tp migrate`"
            ),
        ));
    }
    for (column, name) in [(5, "fsync"), (6, "full_page_writes")] {
        if role.try_get::<_, String>(column)? == "off" {
            tracing::warn!("{name} is off in {place}: what is acknowledged there may be lost in a power cut");
        }
    }

    let found = version(session).await?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(StoreError::Newer { found, known }.into());
    }
    if found < known {
        return Err(refused(
            format!("its tables are of version {found} and this program needs {known}"),
            "run `atlasai-tp migrate` with the role that owns them".to_owned(),
        ));
    }
    let open = session
        .query(
            "SELECT string_agg(t.name, ', ') FROM unnest($1::text[]) AS t (name)
             WHERE NOT EXISTS (
                 SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'atlasai' AND c.relname = t.name AND c.relrowsecurity AND c.relforcerowsecurity
                 AND (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid
                      AND (p.polname = 'one_tenant' OR t.name = 'tenants' AND p.polname = 'directory')) =
                     (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid)
                 AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'one_tenant'))",
            &params([Box::new(["tenants"].into_iter().chain(CONTENT).map(str::to_owned).collect::<Vec<_>>())]),
        )
        .await?;
    if let Some(open) = open.first().map(|row| row.try_get::<_, Option<String>>(0)).transpose()?.flatten() {
        return Err(refused(
            format!("row policies are not in force, or not ours alone, on {open}"),
            "run for each: ALTER TABLE atlasai.NAME ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; and drop \
             every policy that is neither one_tenant nor directory"
                .to_owned(),
        ));
    }
    let rows = session.query("SELECT s.id FROM atlasai.store s", &params([])).await?;
    let id: String = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::Odd("the store's id is none"));
    }
    Ok(Examined { id })
}
