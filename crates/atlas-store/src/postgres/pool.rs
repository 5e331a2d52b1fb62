//! A few connections, shared by all callers.
//!
//! Waiting is bounded everywhere: for a connection, for the server to be reached, for an answer.
//! A connection that ended is replaced; what it was asked is asked again only where that cannot
//! do anything twice.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connect::{Connect, PostgresOptions, Session};
use super::failure::Failure;
use super::lock;

/// Longest wait for a connection that others use.
const QUEUE_TIME: Duration = Duration::from_secs(5);
/// Longest wait for a new connection.
const OPEN_TIME: Duration = Duration::from_secs(10);
/// Longest wait for one transaction. The server ends a statement after 15 s; this is for a server
/// that says nothing any more.
const WORK_TIME: Duration = Duration::from_secs(40);
/// How often a transaction is made that is undone for another's sake.
const COLLISIONS: u32 = 5;

pub(super) struct Pool {
    connect: Box<dyn Connect>,
    options: PostgresOptions,
    idle: Mutex<Vec<Session>>,
    places: Semaphore,
}

impl Pool {
    pub(super) fn new(connect: Box<dyn Connect>, options: PostgresOptions) -> Self {
        let places = Semaphore::new(options.connections.max(1));
        Self { connect, options, idle: Mutex::default(), places }
    }

    pub(super) fn options(&self) -> &PostgresOptions {
        &self.options
    }

    /// Works on a connection. The work is done again when the connection turns out to be a dead
    /// one, or when it collided with another's: it must leave nothing behind when it fails.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFn(&Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let place = timeout(QUEUE_TIME, self.places.acquire()).await.map_err(|_| Failure::Busy)?;
        let _place = place.map_err(|_| Failure::Busy)?;
        let mut n_collisions = 0;
        loop {
            let (session, is_new) = match self.idle_session() {
                Some(session) => (session, false),
                None => (self.open().await?, true),
            };
            let Ok(outcome) = timeout(WORK_TIME, work(&session)).await else { return Err(Failure::Late) };
            match outcome {
                Ok(value) => {
                    self.keep(session);
                    return Ok(value);
                }
                Err(Failure::Unconfirmed) => return Err(Failure::Unconfirmed),
                Err(failure) if failure.is_lost() => {
                    // The others are as old, and their server is gone too.
                    lock(&self.idle).clear();
                    if is_new {
                        return Err(failure);
                    }
                }
                Err(failure) => {
                    if session.run("ROLLBACK").await.is_ok() {
                        self.keep(session);
                    }
                    n_collisions += 1;
                    if !failure.is_collision() || n_collisions == COLLISIONS {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// Closes what is idle.
    pub(super) fn close(&self) {
        lock(&self.idle).clear();
    }

    /// A connection of the caller's own, beyond those that are shared.
    pub(super) async fn open(&self) -> Result<Session, Failure> {
        let opening = Session::open(self.connect.as_ref(), &self.options);
        timeout(OPEN_TIME, opening).await.unwrap_or(Err(Failure::Late))
    }

    fn idle_session(&self) -> Option<Session> {
        let mut idle = lock(&self.idle);
        while let Some(session) = idle.pop() {
            if !session.is_closed() {
                return Some(session);
            }
        }
        None
    }

    fn keep(&self, session: Session) {
        lock(&self.idle).push(session);
    }
}
