//! What happens to the directory between two starts.

use std::fs;
use std::path::{Path, PathBuf};

use atlas_domain::{Facets, Filter, RecordId, Timestamp};
use proptest::prelude::*;

use super::{LexicalChange, LexicalIndex, LexicalQuery};

fn changes() -> Vec<LexicalChange> {
    let put = |number: usize| LexicalChange::Put {
        id: RecordId::new(format!("r{number}")).expect("short and printable"),
        title: format!("Title {number}"),
        text: format!("the disk of node-{number} is full"),
        facets: Facets::at(Timestamp::UNIX_EPOCH),
        exact: Vec::new(),
    };
    (0..40).map(put).collect()
}

fn written(parent: &Path) -> PathBuf {
    let dir = parent.join("logs");
    let index = LexicalIndex::open(Some(&dir)).expect("a new directory").index;
    index.apply(&changes(), 4).expect("applied");
    let removed = LexicalChange::Remove { id: RecordId::new("r3").expect("short and printable") };
    index.apply(&[removed], 5).expect("applied");
    dir
}

/// The index opens, says truly what it covers, and can be brought up to date and searched.
#[track_caller]
fn check_usable(dir: &Path) -> Option<String> {
    let opened = LexicalIndex::open(Some(dir)).expect("damage is never fatal");
    if opened.rebuilt.is_some() {
        assert_eq!((opened.seq, opened.index.len()), (0, 0));
    } else {
        assert!(
            opened.seq == 5 || opened.index.is_empty(),
            "{} records at {}",
            opened.index.len(),
            opened.seq
        );
    }
    opened.index.apply(&changes(), 6).expect("a rebuilt index takes changes");
    assert_eq!(
        opened
            .index
            .search(LexicalQuery::words("disk", &Filter::default()), 100)
            .expect("any text is a query")
            .hits
            .len(),
        40
    );
    opened.rebuilt
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir).expect("written before").map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn a_missing_or_truncated_file_of_the_index_is_noticed() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let count = files(&written(parent.path())).len();
    for number in 0..count {
        for remove in [true, false] {
            let parent = tempfile::tempdir().expect("a temporary directory");
            let dir = written(parent.path());
            let file = &files(&dir)[number.min(files(&dir).len() - 1)];
            let bytes = fs::read(file).expect("readable");
            if remove {
                fs::remove_file(file).expect("ours");
            } else {
                fs::write(file, &bytes[..bytes.len() / 2]).expect("ours");
            }
            let rebuilt = check_usable(&dir);
            let name = file.file_name().expect("a file").to_string_lossy().into_owned();
            // Locks are empty; the list of managed files is only used for cleaning up.
            if !name.starts_with('.') {
                assert!(rebuilt.is_some(), "{name}, removed: {remove}");
            }
        }
    }
}

#[test]
fn a_directory_that_is_something_else_is_set_aside() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let dir = parent.path().join("logs");
    fs::write(&dir, "a file").expect("ours");
    assert!(check_usable(&dir).is_some());
    let dir = parent.path().join("alerts");
    fs::create_dir(&dir).expect("ours");
    fs::write(dir.join("notes.txt"), "no index").expect("ours");
    assert!(check_usable(&dir).is_some());
}

#[test]
fn an_index_of_another_version_is_rebuilt() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let dir = written(parent.path());
    let meta = dir.join("meta.json");
    let text = fs::read_to_string(&meta).expect("readable");
    assert!(text.contains(super::schema::TOKENIZER));
    fs::write(&meta, text.replace(super::schema::TOKENIZER, "operations-0")).expect("ours");
    assert!(check_usable(&dir).is_some_and(|reason| reason.contains("version")));
}

#[test]
fn a_change_number_that_was_tampered_with_is_not_believed() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let dir = written(parent.path());
    let meta = dir.join("meta.json");
    let text = fs::read_to_string(&meta).expect("readable");
    fs::write(&meta, text.replace("seq 5 ", "seq 9 ")).expect("ours");
    assert!(check_usable(&dir).is_some());
}

#[test]
fn a_commit_whose_list_of_removed_records_lost_its_name_is_not_believed() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let dir = written(parent.path());
    let meta = dir.join("meta.json");
    let text = fs::read_to_string(&meta).expect("readable");
    fs::write(&meta, text.replace("\"deletes\"", "\"demetes\"")).expect("ours");
    assert!(check_usable(&dir).is_some());
}

#[test]
fn the_newest_two_damaged_directories_are_kept() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    for _ in 0..4 {
        let dir = written(parent.path());
        fs::write(dir.join("meta.json"), "{").expect("ours");
        assert!(check_usable(&dir).is_some());
    }
    let names: Vec<_> = files(parent.path())
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(names, ["logs", "logs.damaged-3", "logs.damaged-4"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_damage_is_never_fatal(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1u8.., 0u8..3), 1..4),
    ) {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = written(parent.path());
        for (file, place, bits, kind) in hits {
            let files = files(&dir);
            let file = file.get(&files);
            let mut bytes = fs::read(file).expect("readable");
            if bytes.is_empty() {
                continue;
            }
            let place = place.index(bytes.len());
            match kind {
                0 => bytes.truncate(place),
                1 => bytes[place] ^= bits,
                _ => bytes[place..].fill(0),
            }
            fs::write(file, bytes).expect("ours");
        }
        check_usable(&dir);
    }
}

/// splitmix64.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number ^ (number >> 27)
}

/// Every record by its words and by its name, as one text.
fn answers(index: &LexicalIndex) -> String {
    let filter = Filter::default();
    let ask = |text: &str| {
        let query = LexicalQuery::words(text, &filter);
        index.search(query, 100).expect("any text is a query").hits
    };
    let named: Vec<_> = (0..40)
        .map(|number| {
            let name = format!("r{number}");
            index.exact(LexicalQuery::words(&name, &filter), 9).expect("any text is a query")
        })
        .collect();
    format!("{:?}", (index.len(), ask("disk"), ask("node-7"), named))
}

/// One bit is turned or the file is cut, at a random place of a random file. An index that opens
/// as if nothing had happened must answer as if nothing had happened.
///
/// `cargo test` tries some hundred; `cargo xtask crash` ten thousand (`ATLAS_DAMAGES`).
#[test]
fn every_flipped_bit_and_every_cut_is_noticed_or_without_effect() {
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask crash` asks for more damages")]
    let trials = std::env::var("ATLAS_DAMAGES").ok().and_then(|trials| trials.parse().ok()).unwrap_or(300);
    let parent = tempfile::tempdir().expect("a temporary directory");
    let whole = written(parent.path());
    let names = files(&whole);
    let expected = answers(&LexicalIndex::open(Some(&whole)).expect("undamaged").index);
    let dir = parent.path().join("damaged");
    let (mut noticed, mut harmless) = (0u64, 0u64);
    for trial in 0..trials {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("ours");
        for name in &names {
            fs::copy(name, dir.join(name.file_name().expect("a file"))).expect("ours");
        }
        let (one, two, three) = (mixed(trial * 3), mixed(trial * 3 + 1), mixed(trial * 3 + 2));
        let damaged = dir.join(names[one as usize % names.len()].file_name().expect("a file"));
        let mut bytes = fs::read(&damaged).expect("readable");
        if bytes.is_empty() {
            continue;
        }
        let place = two as usize % bytes.len();
        if three.is_multiple_of(4) {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << ((three >> 8) % 8);
        }
        fs::write(&damaged, bytes).expect("ours");
        let what = format!("trial {trial}: {} at {place}", damaged.display());
        let opened = LexicalIndex::open(Some(&dir)).unwrap_or_else(|error| panic!("{what}: {error}"));
        if opened.rebuilt.is_some() {
            assert_eq!((opened.seq, opened.index.len()), (0, 0), "{what}");
            noticed += 1;
        } else {
            assert_eq!((opened.seq, answers(&opened.index)), (5, expected.clone()), "{what}");
            harmless += 1;
        }
        for aside in files(parent.path()).iter().filter(|path| path.to_string_lossy().contains(".damaged-")) {
            fs::remove_dir_all(aside).expect("ours");
        }
    }
    eprintln!("{trials} damages: {noticed} noticed and rebuilt, {harmless} without effect, none believed");
}
