//! What happens to a file of an index that something else has written to.

use std::fs;
use std::path::Path;

use atlas_domain::{EmbeddingSpace, Facets, Filter, Pooling, RecordId, SpaceId, Timestamp};

use super::{SpaceVector, VectorIndex, VectorKind, VectorLeg};
use crate::IndexError;

const DIMENSION: usize = 130;
const ROWS: u64 = 150;

fn space(model: &str) -> SpaceId {
    EmbeddingSpace {
        engine: "test".into(),
        model: model.into(),
        revision: "1".into(),
        dimension: DIMENSION,
        pooling: Pooling::Mean,
        precision: "f32".into(),
    }
    .id()
}

/// SplitMix64.
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}

fn vector(seed: u64) -> Vec<f32> {
    let component = |at| (mixed(seed * 1_000 + at) >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    (0..DIMENSION as u64).map(component).collect()
}

/// An index with a graph, filters and dead rows, in a file; what it answers.
fn written(path: &Path) -> String {
    let space = space("m");
    let mut index = VectorIndex::new(space.clone(), DIMENSION, VectorKind::Hnsw);
    for row in 0..ROWS {
        let id = RecordId::new(format!("r{}", row / 2)).expect("short and printable");
        let at = Timestamp::from_second(row as i64).expect("near the epoch");
        let facets = Facets { service: Some(format!("s{}", row % 3)), ..Facets::at(at) };
        let vector = SpaceVector { space: &space, components: &vector(row) };
        index.put(row, &id, &facets, vector).expect("of the space");
    }
    while let Some(build) = index.next_build() {
        let built = build.run(&|| true).expect("in memory").expect("nobody stopped it");
        index.install(built).expect("in memory");
    }
    for record in [3, 40, 71] {
        assert!(index.remove(&RecordId::new(format!("r{record}")).expect("short and printable")));
    }
    index.snapshot().write(path, 5, &|| true).expect("room").expect("nobody stopped it");
    answers(&index).expect("in memory")
}

fn answers(index: &VectorIndex) -> Result<String, IndexError> {
    let space = space("m");
    let mut all = Vec::new();
    for asked in 0..40 {
        let services = if asked % 2 == 0 { vec![] } else { vec!["s1".to_owned()] };
        let since = (asked % 3 == 0).then(|| Timestamp::from_second(50).expect("near the epoch"));
        let filter = Filter { service: services, since, ..Filter::default() };
        let query = vector(10_000 + asked);
        all.push(index.search(SpaceVector { space: &space, components: &query }, &filter, 20)?);
    }
    Ok(format!("{} {all:?}", index.len()))
}

fn load(path: &Path) -> Result<Option<String>, IndexError> {
    match VectorIndex::load(path, &space("m"), DIMENSION, VectorKind::Hnsw)? {
        Some(loaded) => {
            assert_eq!(loaded.covers, 5);
            answers(&loaded.index).map(Some)
        }
        None => Ok(None),
    }
}

/// One bit is turned, or the file is cut or has something behind its end. What opens and answers
/// as if nothing had happened must answer as if nothing had happened.
///
/// `cargo test` tries some hundred; `cargo xtask crash` ten thousand (`ATLAS_DAMAGES`).
#[test]
fn every_flipped_bit_and_every_cut_of_a_vector_file_is_noticed_or_without_effect() {
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask crash` asks for more damages")]
    let trials = std::env::var("ATLAS_DAMAGES").ok().and_then(|trials| trials.parse().ok()).unwrap_or(300);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (whole, damaged) = (dir.path().join("whole"), dir.path().join("damaged"));
    let expected = written(&whole);
    assert_eq!(load(&whole).expect("undamaged"), Some(expected.clone()), "what is read is what was written");
    let bytes = fs::read(&whole).expect("readable");
    let (mut noticed, mut harmless) = (0u64, 0u64);
    for trial in 0..trials {
        let (one, two) = (mixed(trial * 2), mixed(trial * 2 + 1));
        let mut bytes = bytes.clone();
        // A third of the damages in the first bytes, of which there are few.
        let within = if one % 3 == 0 { 256 } else { bytes.len() };
        let place = (one >> 8) as usize % within;
        match two % 8 {
            0 | 1 => bytes.truncate(place),
            2 => bytes.extend(&two.to_le_bytes()),
            _ => bytes[place] ^= 1 << ((two >> 8) % 8),
        }
        fs::write(&damaged, bytes).expect("ours");
        match load(&damaged) {
            Err(IndexError::Corrupt { .. }) => noticed += 1,
            Ok(Some(found)) if found == expected => harmless += 1,
            other => panic!("trial {trial}, {place}: {other:?}"),
        }
    }
    eprintln!("{trials} damages: {noticed} noticed, {harmless} without effect, none believed");
    assert!(noticed > harmless, "most of a file is looked at by forty questions");
}

#[test]
fn a_file_of_another_space_is_no_file_of_this_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("leg");
    assert!(VectorIndex::load(&path, &space("m"), DIMENSION, VectorKind::Auto).expect("none").is_none());
    written(&path);
    let load = |space: &SpaceId, dimension| VectorIndex::load(&path, space, dimension, VectorKind::Auto);
    assert!(load(&space("n"), DIMENSION).expect("undamaged").is_none());
    assert!(load(&space("m"), DIMENSION + 1).expect("undamaged").is_none());
    assert!(load(&space("m"), DIMENSION).expect("undamaged").is_some());
}

#[test]
fn a_writing_that_is_stopped_leaves_the_file_before() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("leg");
    let expected = written(&path);
    let loaded = VectorIndex::load(&path, &space("m"), DIMENSION, VectorKind::Hnsw).expect("undamaged");
    let index = loaded.expect("there").index;
    assert!(index.snapshot().write(&path, 6, &|| false).expect("room").is_none());
    assert_eq!(load(&path).expect("undamaged"), Some(expected));
    assert_eq!(fs::read_dir(dir.path()).expect("ours").count(), 1, "no draft is left");
}
