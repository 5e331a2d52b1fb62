//! The shared store keeps the contract, and what only a store that others write too owes.
//!
//! Without a PostgreSQL (see `atlas_testkit::postgres`) every test here prints SKIPPED.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use atlas_domain::{Corpus, Filter};
use atlas_store::{Connect, Connecting, Entry, PostgresStore, SpreadStore, Store, StoreError, Stream};
use atlas_testkit::postgres::Database;
use atlas_testkit::store_suite::{self, commit, draft, key, put, tenant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[test]
fn the_shared_store_keeps_the_contract() {
    let Some(database) = Database::create("the contract of the shared store") else { return };
    store_suite::run(|| {
        database.empty();
        Box::new(database.open())
    });
}

#[test]
fn any_history_of_the_shared_store_gives_what_a_map_would_hold() {
    let Some(database) = Database::create("histories of the shared store").map(Rc::new) else { return };
    // A history takes seconds here: every step asks some sixty questions of a server.
    store_suite::history::run(6, || {
        database.empty();
        let database = Rc::clone(&database);
        Box::new(move || Box::new(database.open()))
    });
}

#[test]
fn two_databases_together_keep_the_contract() {
    let Some(left) = Database::create("the contract of two databases") else { return };
    let right = Database::create("the contract of two databases").expect("there was one");
    store_suite::run(|| {
        left.empty();
        right.empty();
        Box::new(SpreadStore::new(vec![("left".into(), left.open()), ("right".into(), right.open())]))
    });
}

#[test]
fn a_tenant_stays_where_it_lies_when_a_database_is_added() {
    let Some(old) = Database::create("a database that is added") else { return };
    let new = Database::create("a database that is added").expect("there was one");
    let names = |from: usize| (from..from + 12).map(|n| format!("tenant-{n}"));
    let alone = SpreadStore::new(vec![("old".into(), old.open())]);
    names(0).for_each(|name| _ = tenant(&alone, &name));
    let both = SpreadStore::new(vec![("old".into(), old.open()), ("new".into(), new.open())]);
    for name in names(0) {
        commit(&both, &store_suite::scope(&name), vec![put(draft("a", 1, ""), &[])]).expect("commit");
    }
    names(100).for_each(|name| _ = tenant(&both, &name));
    let (in_old, in_new) = (old.open().tenants().expect("tenants"), new.open().tenants().expect("tenants"));
    assert!(names(0).all(|name| in_old.iter().any(|tenant| tenant.as_str() == name)));
    assert!(
        in_old.len() > 12 && !in_new.is_empty() && in_old.len() + in_new.len() == 24,
        "{in_old:?} {in_new:?}"
    );
    assert_eq!(both.tenants().expect("tenants").len(), 24);
    assert_ne!(alone.id(), both.id());
}

#[test]
fn servers_that_write_at_once_leave_one_gapless_log() {
    let Some(database) = Database::create("servers that write at once") else { return };
    let stores = [database.open(), database.open()];
    let acme = tenant(&stores[0], "acme");
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let (store, acme) = (&stores[writer % 2], &acme);
                threads.spawn(move || {
                    for n in 0..40 {
                        let pair =
                            ["a", "b"].map(|side| put(draft(&format!("{writer}-{n}-{side}"), n, ""), &[]));
                        commit(store, acme, pair.into()).expect("commit");
                    }
                })
            })
            .collect();
        let reader = threads.spawn(|| {
            let mut next = 1;
            while !done.load(Ordering::Acquire) || next <= stores[1].last_seq(&acme).expect("seq") {
                for entry in stores[1].changes_after(&acme, Corpus::Runbooks, next - 1, 7).expect("changes") {
                    assert_eq!(entry.seq, next, "a number became visible before the one below it");
                    assert!(matches!(entry.entry, Entry::Present(_)));
                    next += 1;
                }
            }
            next - 1
        });
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        done.store(true, Ordering::Release);
        assert_eq!(reader.join().expect("the reader"), 480);
    });
}

#[test]
fn a_turn_is_one_servers_at_a_time() {
    let Some(database) = Database::create("turns of two servers") else { return };
    let stores = [database.open(), database.open()];
    let acme = tenant(&stores[0], "acme");
    std::thread::scope(|threads| {
        for writer in 0..6 {
            let (store, acme) = (&stores[writer % 2], &acme);
            threads.spawn(move || {
                for _ in 0..10 {
                    let _turn = store.others().expect("shared").take_turn(acme, "counting").expect("a turn");
                    let count =
                        store.get(acme, &key("count")).expect("get").map_or(0, |r| r.facets.at.as_second());
                    commit(store, acme, vec![put(draft("count", count + 1, ""), &[])]).expect("commit");
                }
            });
        }
    });
    let count = stores[0].get(&acme, &key("count")).expect("get").expect("present");
    assert_eq!(count.facets.at.as_second(), 60);
    // Turns of other names and tenants are others.
    let other = tenant(&stores[0], "other");
    let turns = |store: &PostgresStore, scope, what| store.others().expect("shared").take_turn(scope, what);
    let _held = (
        turns(&stores[0], &acme, "a").expect("a turn"),
        turns(&stores[1], &acme, "b").expect("a turn"),
        turns(&stores[1], &other, "a").expect("a turn"),
    );
}

#[test]
fn the_turn_of_a_server_that_died_is_free_at_once() {
    let Some(database) = Database::create("the turn of a server that died") else { return };
    let (dead, alive) = (database.open(), database.open());
    let acme = tenant(&dead, "acme");
    let held = dead.others().expect("shared").take_turn(&acme, "counting").expect("a turn");
    // As a power cut leaves it: nothing is given back, and every connection ends.
    std::mem::forget(held);
    drop(dead);
    let name = database.options("x").database;
    database.admin(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    ));
    let began = std::time::Instant::now();
    let _turn = alive.others().expect("shared").take_turn(&acme, "counting").expect("a turn");
    commit(&alive, &acme, vec![put(draft("a", 1, ""), &[])]).expect("commit");
    // The patience of one who waits for a living holder is half a minute.
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}

#[test]
fn a_turn_that_was_taken_over_lets_no_write_through() {
    let Some(database) = Database::create("a lost turn") else { return };
    let (slow, quick) = (database.open(), database.open());
    let acme = tenant(&slow, "acme");
    let write = |store: &PostgresStore, id: &str| commit(store, &acme, vec![put(draft(id, 1, ""), &[])]);
    let lost = slow.others().expect("shared").take_turn(&acme, "counting").expect("a turn");
    write(&slow, "in time").expect("commit");
    // It stood still for more than a minute.
    database.admin("UPDATE atlasai.turns SET until = now() - interval '1 second'");
    write(&slow, "late, and nobody waited").expect("commit");
    let turn = quick.others().expect("shared").take_turn(&acme, "counting").expect("a turn");
    let refused = write(&slow, "too late");
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    write(&quick, "its turn").expect("commit");
    drop((lost, turn));
    write(&slow, "afterwards").expect("commit");
    assert_eq!(slow.count(&acme, Corpus::Runbooks, &Filter::default()).expect("count"), 4);
}

/// Where a connection is cut when it confirms a transaction.
const WHOLE: u8 = 0;
const BEFORE: u8 = 1;
const AFTER: u8 = 2;

struct Cutting {
    address: String,
    cut: Arc<AtomicU8>,
}

struct Cut {
    stream: TcpStream,
    cut: Arc<AtomicU8>,
    is_gone: bool,
}

impl Connect for Cutting {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let stream = TcpStream::connect(&self.address).await?;
            Ok(Box::new(Cut { stream, cut: Arc::clone(&self.cut), is_gone: false }) as Box<dyn Stream>)
        })
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_gone = self.is_gone;
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match read {
            // The answer is on its way and never arrives.
            Poll::Ready(Ok(())) if is_gone => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            read => read,
        }
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.windows(6).any(|window| window == b"COMMIT") {
            match self.cut.swap(WHOLE, Ordering::AcqRel) {
                BEFORE => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                AFTER => self.is_gone = true,
                _ => {}
            }
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[test]
fn a_connection_that_breaks_while_a_write_is_confirmed_leaves_no_doubt() {
    let Some(database) = Database::create("a connection that breaks") else { return };
    let cut = Arc::new(AtomicU8::new(WHOLE));
    let connect = Cutting { address: database.address().to_owned(), cut: Arc::clone(&cut) };
    let store = PostgresStore::open(Box::new(connect), database.options(&database.server())).expect("opens");
    let acme = tenant(&store, "acme");
    for (n, place) in [BEFORE, AFTER, AFTER, BEFORE].into_iter().enumerate() {
        cut.store(place, Ordering::Release);
        let committed =
            commit(&store, &acme, vec![put(draft(&format!("r{n}"), 1, ""), &[])]).expect("commit");
        assert_eq!(cut.load(Ordering::Acquire), WHOLE, "the connection was never cut");
        // One number each: nothing was written twice and nothing is missing.
        assert_eq!(committed.seq, n as u64 + 1);
        assert_eq!(store.count(&acme, Corpus::Runbooks, &Filter::default()).expect("count"), n as u64 + 1);
    }
}

#[test]
fn a_server_that_restarts_is_found_again() {
    let Some(database) = Database::create("connections that ended") else { return };
    let store = database.open();
    let acme = tenant(&store, "acme");
    let name = database.options("x").database;
    for n in 0..5 {
        database.admin(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        ));
        commit(&store, &acme, vec![put(draft(&format!("r{n}"), n, ""), &[])]).expect("commit");
        assert_eq!(store.last_seq(&acme).expect("seq"), n as u64 + 1);
    }
    database.admin(&format!("ALTER ROLE {} NOLOGIN", database.server()));
    store.close();
    assert!(matches!(
        store.last_seq(&acme),
        Err(StoreError::Refused { .. } | StoreError::Unavailable { .. })
    ));
    database.admin(&format!("ALTER ROLE {} LOGIN", database.server()));
    assert_eq!(store.last_seq(&acme).expect("seq"), 5);
}
