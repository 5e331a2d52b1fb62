//! Turns: what is read, changed and written back is done by one server at a time.
//!
//! A turn is a row with a name in it rather than a lock of a connection: a feature may hold its turn
//! while it waits for an engine, and a connection for each would be many. Others may take it over
//! when its time is over, and at once when its holder has died: each process keeps one connection
//! with a lock that goes with it. What neither can promise is kept at the commit: it looks whether
//! every turn that this process holds in the tenant is still its own, and holds that fast until it
//! is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atlas_domain::TenantId;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::connect::{Session, params};
use super::failure::Failure;
use super::pool::Pool;
use super::{lock, write};

/// Before the first look whether a turn has ended, and the longest between two.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long one waits for a turn. Longer than a batch of log lines with a slow engine takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The turns that this process holds.
#[derive(Default)]
pub(super) struct Turns {
    held: Mutex<HashMap<TenantId, Vec<String>>>,
    /// The connection by which others see that this process lives, and its lock.
    presence: tokio::sync::Mutex<Option<(Session, i64)>>,
}

impl Turns {
    /// The lock that says that this process lives.
    async fn presence(&self, pool: &Pool) -> Result<i64, Failure> {
        let mut presence = self.presence.lock().await;
        if let Some((session, number)) = &*presence
            && !session.is_closed()
        {
            return Ok(*number);
        }
        let session = pool.open().await?;
        let rows = session.query("SELECT (random() * 9e18)::bigint", &params([])).await?;
        let number: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
        session.execute("SELECT pg_advisory_lock($1)", &params([Box::new(number)])).await?;
        *presence = Some((session, number));
        Ok(number)
    }

    fn held(&self, tenant: &TenantId) -> Vec<String> {
        lock(&self.held).get(tenant).cloned().unwrap_or_default()
    }

    fn add(&self, tenant: &TenantId, holder: &str) {
        lock(&self.held).entry(tenant.clone()).or_default().push(holder.to_owned());
    }

    fn remove(&self, tenant: &TenantId, holder: &str) {
        let mut held = lock(&self.held);
        if let Some(holders) = held.get_mut(tenant) {
            holders.retain(|other| other != holder);
            if holders.is_empty() {
                held.remove(tenant);
            }
        }
    }

    /// Inside a transaction that writes: fails when a turn of the tenant is not ours any more, and
    /// keeps those that are until the transaction ends.
    pub(super) async fn check(&self, session: &Session, tenant: &TenantId) -> Result<(), Failure> {
        let held = self.held(tenant);
        if held.is_empty() {
            return Ok(());
        }
        let values = params([Box::new(tenant.as_str().to_owned()), Box::new(held.clone())]);
        let sql = "SELECT u.holder FROM atlasai.turns u WHERE u.tenant = $1 AND u.holder = ANY($2) FOR SHARE";
        let rows = session.query(sql, &values).await?;
        let ours = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        // One that ended in between was not lost.
        let still_held = self.held(tenant);
        match held.iter().any(|holder| !ours.contains(holder) && still_held.contains(holder)) {
            true => Err(Failure::Unreachable("another server took over what was being changed here".into())),
            false => Ok(()),
        }
    }
}

/// A turn that is held.
pub(super) struct Taken {
    pool: Arc<Pool>,
    turns: Arc<Turns>,
    tenant: TenantId,
    holder: String,
    runtime: Handle,
}

/// Waits for the turn.
pub(super) async fn take(
    pool: Arc<Pool>,
    turns: Arc<Turns>,
    tenant: &TenantId,
    what: &str,
) -> Result<Taken, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        let presence = turns.presence(&pool).await?;
        let taken = pool.with(async |session| try_take(session, tenant, what, presence).await).await?;
        if let Some(holder) = taken {
            turns.add(tenant, &holder);
            return Ok(Taken { pool, turns, tenant: tenant.clone(), holder, runtime: Handle::current() });
        }
        if Instant::now() > deadline {
            return Err(Failure::Unreachable(
                format!("another server is busy with {what} of {tenant}").into(),
            ));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The holder's name, or `None` while somebody else has the turn.
async fn try_take(
    session: &Session,
    tenant: &TenantId,
    what: &str,
    presence: i64,
) -> Result<Option<String>, Failure> {
    session.run(&write::begin(tenant)).await?;
    // A minute: longer than any feature reads, embeds and writes.
    let sql = "INSERT INTO atlasai.turns AS u (tenant, what, holder, presence, until)
         VALUES ($1, $2, gen_random_uuid()::text, $3, clock_timestamp() + interval '60 s')
         ON CONFLICT (tenant, what) DO UPDATE
             SET holder = excluded.holder, presence = excluded.presence, until = excluded.until
         WHERE u.until < clock_timestamp() OR NOT EXISTS (
             SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
             AND (l.classid::bigint << 32 | l.objid::bigint) = u.presence)
         RETURNING u.holder";
    let values =
        params([Box::new(tenant.as_str().to_owned()), Box::new(what.to_owned()), Box::new(presence)]);
    let rows = session.query(sql, &values).await?;
    session.run("COMMIT").await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

async fn give_back(session: &Session, tenant: &TenantId, holder: &str) -> Result<(), Failure> {
    session.run(&write::begin(tenant)).await?;
    let sql = "DELETE FROM atlasai.turns u WHERE u.tenant = $1 AND u.holder = $2";
    let values = params([Box::new(tenant.as_str().to_owned()), Box::new(holder.to_owned())]);
    session.execute(sql, &values).await?;
    session.run("COMMIT").await
}

impl Drop for Taken {
    fn drop(&mut self) {
        // From here on no commit of this process depends on it.
        self.turns.remove(&self.tenant, &self.holder);
        let (pool, runtime) = (Arc::clone(&self.pool), self.runtime.clone());
        let (tenant, holder) = (self.tenant.clone(), std::mem::take(&mut self.holder));
        self.runtime.spawn_blocking(move || {
            let ended = pool.with(async |session| give_back(session, &tenant, &holder).await);
            if runtime.block_on(ended).is_err() {
                // The others wait for the minute to be over.
                tracing::debug!("a turn could not be given back; it ends by itself");
            }
        });
    }
}
