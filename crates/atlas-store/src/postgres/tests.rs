//! The second wall between tenants, with the first one taken away.

use std::borrow::Cow;
use std::cell::Cell;

use atlas_domain::{
    Corpus, EmbeddingSpace, Facets, Filter, Pooling, Record, RecordDraft, RecordId, RecordKey, SpaceId,
    TenantScope, TextHash, Timestamp,
};
use atlas_testkit::postgres::Database;
use tokio::net::TcpStream;

use super::*;
use crate::{Batch, Change, ChunkDraft, ChunkId, ListQuery, NearQuery, VectorSearch};

thread_local! {
    static WITHOUT_TENANT: Cell<bool> = const { Cell::new(false) };
    static REMOVED: Cell<usize> = const { Cell::new(0) };
}

/// The statement as it is; or, for as long as this thread wishes, with every condition on the
/// tenant removed from it.
pub(super) fn without_tenant(sql: &str) -> Cow<'_, str> {
    const CONDITION: &str = ".tenant = $1";
    if !WITHOUT_TENANT.get() {
        return Cow::Borrowed(sql);
    }
    let mut rest = sql;
    let mut rewritten = String::new();
    while let Some(at) = rest.find(CONDITION) {
        // The name of the table goes with it.
        let table = rest[..at].rfind(|c: char| !c.is_alphanumeric()).map_or(0, |before| before + 1);
        rewritten.push_str(&rest[..table]);
        rewritten.push_str("$1::text IS NOT NULL");
        rest = &rest[at + CONDITION.len()..];
        REMOVED.set(REMOVED.get() + 1);
    }
    rewritten.push_str(rest);
    Cow::Owned(rewritten)
}

struct Loopback(String);

impl Connect for Loopback {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async { Ok(Box::new(TcpStream::connect(&self.0).await?) as Box<dyn Stream>) })
    }
}

fn open(database: &Database) -> PostgresStore {
    let theirs = database.options(&database.server());
    let options = PostgresOptions {
        place: theirs.place,
        database: theirs.database,
        user: theirs.user,
        password: None,
        connections: 2,
    };
    PostgresStore::open(Box::new(Loopback(database.address().to_owned())), options).expect("opens")
}

#[expect(clippy::disallowed_methods, reason = "tests say who the caller is")]
fn tenant(store: &PostgresStore, name: &str) -> TenantScope {
    let id: TenantId = name.parse().expect("a tenant's name");
    store.create_tenant(&id).expect("created");
    TenantScope::grant(id)
}

fn space() -> SpaceId {
    let space = EmbeddingSpace {
        engine: "test".into(),
        model: "m".into(),
        revision: "1".into(),
        dimension: 2,
        pooling: Pooling::Mean,
        precision: "f32".into(),
    };
    space.id()
}

fn key(id: &str) -> RecordKey {
    RecordKey::new(Corpus::Runbooks, RecordId::new(id).expect("an id"))
}

fn batch(owner: &str, ids: &[&str]) -> Batch {
    let put = |id: &&str| Change::Put {
        record: RecordDraft {
            key: key(id),
            title: format!("{owner}'s title"),
            facets: Facets::at(Timestamp::UNIX_EPOCH),
            text: format!("{owner}'s text"),
            body: serde_json::json!(owner),
        },
        chunks: vec![ChunkDraft {
            heading: String::new(),
            text: format!("{owner}'s chunk"),
            hash: TextHash::of(owner),
            vector: Some(vec![1.0, 2.0]),
        }],
    };
    Batch { space: Some(space()), changes: ids.iter().map(put).collect() }
}

/// Everything a tenant has, in one line.
fn content(database: &Database, tenant: &str) -> String {
    let tables = ["tenants", "records", "tombstones", "chunks", "vectors"];
    let digests = tables.map(|table| {
        database.admin_value(&format!(
            "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM atlasai.{table} t WHERE tenant = '{tenant}'"
        ))
    });
    digests.join(" ")
}

#[test]
fn row_policies_hold_where_no_statement_names_its_tenant() {
    let Some(database) = Database::create("row policies without conditions") else { return };
    let store = open(&database);
    let (left, right) = (tenant(&store, "left"), tenant(&store, "right"));
    store.commit(&left, batch("left", &["same", "left-only"])).expect("committed");
    store.commit(&right, batch("right", &["same", "gone"])).expect("committed");
    store
        .commit(&right, Batch { space: None, changes: vec![Change::Delete(key("gone"))] })
        .expect("committed");
    let chunks: Vec<_> = ["same", "left-only"]
        .iter()
        .flat_map(|id| store.chunks_of(&left, &key(id)).expect("chunks"))
        .collect();
    let before = content(&database, "left");

    // Statements that are prepared already name their tenant.
    store.close();
    WITHOUT_TENANT.set(true);
    let everything = Filter::default();
    let ids = ["same", "left-only"].map(|id| RecordId::new(id).expect("an id"));
    let list = ListQuery { limit: 100, ..ListQuery::default() };
    let numbers: Vec<ChunkId> = (0..100).collect();
    let record = |record: Record| assert_eq!(record.text, "right's text");
    record(store.get(&right, &key("same")).expect("read").expect("present"));
    assert_eq!(store.get(&right, &key("left-only")).expect("read"), None);
    store.get_many(&right, Corpus::Runbooks, &ids).expect("read").into_iter().for_each(record);
    store.list(&right, Corpus::Runbooks, &list).expect("read").records.into_iter().for_each(record);
    assert_eq!(store.count(&right, Corpus::Runbooks, &everything).expect("read"), 1);
    for id in ["same", "left-only"] {
        for chunk in store.chunks_of(&right, &key(id)).expect("read") {
            assert_eq!(chunk.text, "right's chunk");
        }
        assert_eq!(
            store.vectors_of(&right, &key(id), &space()).expect("read").len(),
            usize::from(id == "same")
        );
    }
    assert!(store.chunks(&right, &numbers).expect("read").iter().all(|chunk| chunk.text == "right's chunk"));
    let changes = store.changes_after(&right, Corpus::Runbooks, 0, 100).expect("read");
    assert_eq!(changes.iter().map(|change| change.key.id.as_str()).collect::<Vec<_>>(), ["same", "gone"]);
    let vectors = store.vectors_after(&right, Corpus::Runbooks, &space(), 0, 100).expect("read");
    assert_eq!(vectors.len(), 1);
    assert_eq!(store.chunks_without_vector(&right, &space(), 100).expect("read"), []);
    assert_eq!(store.last_seq(&right).expect("read"), 3);
    for filter in [everything, Filter { until: Some(Timestamp::MAX), ..Filter::default() }] {
        let query = NearQuery { space: &space(), vector: &[1.0, 2.0], filter: &filter, limit: 10 };
        let near = store.nearest(&right, Corpus::Runbooks, query).expect("read");
        assert_eq!(near.iter().map(|near| near.id.as_str()).collect::<Vec<_>>(), ["same"]);
    }

    // And nothing of the other tenant is changed or removed.
    store.commit(&right, batch("changed", &["same", "left-only"])).expect("committed");
    store
        .commit(&right, Batch { space: None, changes: vec![Change::Delete(key("same"))] })
        .expect("committed");
    let foreign = chunks.iter().map(|chunk| (chunk.id, vec![9.0, 9.0])).collect();
    store.put_vectors(&right, &space(), foreign).expect("committed");
    WITHOUT_TENANT.set(false);
    assert_eq!(content(&database, "left"), before);
    assert!(REMOVED.get() > 20, "only {} conditions were removed", REMOVED.get());
}

#[test]
fn a_statement_outside_of_a_tenant_s_transaction_sees_nothing() {
    let Some(database) = Database::create("statements outside of a transaction") else { return };
    let store = open(&database);
    let left = tenant(&store, "left");
    store.commit(&left, batch("left", &["a"])).expect("committed");
    for table in ["tenants", "records", "tombstones", "chunks", "vectors"] {
        let rows = store
            .ask(async |session| session.query(&format!("SELECT 1 FROM atlasai.{table}"), &params([])).await);
        assert_eq!(rows.expect("read").len(), 0, "{table}");
    }
    let written = store.ask(async |session| {
        session.execute("INSERT INTO atlasai.tenants (tenant) VALUES ('x')", &params([])).await
    });
    assert!(matches!(written, Err(StoreError::Refused { .. })), "{written:?}");
}
