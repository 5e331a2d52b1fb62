//! A directory of the word index in which bytes were changed: it opens, covers what it says, or
//! is set aside and takes everything anew.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use atlas_domain::{Facets, Filter, RecordId, Timestamp};
use atlas_index::{LexicalChange, LexicalIndex};
use libfuzzer_sys::fuzz_target;

fn changes() -> Vec<LexicalChange> {
    let put = |number: usize| LexicalChange::Put {
        id: RecordId::new(format!("r{number}")).expect("an id"),
        title: format!("Title {number}"),
        text: "the disk is full".into(),
        facets: Facets::at(Timestamp::UNIX_EPOCH),
        exact: Vec::new(),
    };
    (0..8).map(put).collect()
}

/// The files of an index, made once.
fn files() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        LexicalIndex::open(Some(dir.path())).expect("new").index.apply(&changes(), 5).expect("applied");
        let mut files: Vec<_> = fs::read_dir(dir.path())
            .expect("made")
            .map(|entry| {
                let path = entry.expect("readable").path();
                (path.file_name().expect("a name").into(), fs::read(&path).expect("readable"))
            })
            .collect();
        files.sort();
        files
    })
}

fuzz_target!(|damage: (u8, Option<u16>, Vec<u8>)| {
    let (which, at, bytes) = damage;
    let parent = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let dir = parent.path().join("index");
    fs::create_dir(&dir).expect("made");
    let damaged = usize::from(which) % files().len();
    for (number, (name, content)) in files().iter().enumerate() {
        let mut content = content.clone();
        if number == damaged {
            match at {
                // Over what is there, or the whole file anew.
                Some(at) => {
                    let at = usize::from(at) % (content.len() + 1);
                    let end = (at + bytes.len()).min(content.len());
                    content[at..end].copy_from_slice(&bytes[..end - at]);
                }
                None => content.clone_from(&bytes),
            }
        }
        fs::write(dir.join(name), content).expect("written");
    }
    let opened = LexicalIndex::open(Some(&dir)).expect("damage is never fatal");
    assert!(opened.seq == 5 || (opened.seq == 0 && opened.index.is_empty()), "{}", opened.seq);
    opened.index.apply(&changes(), 6).expect("it takes changes");
    let hits = opened.index.search("disk", &Filter::default(), 100).expect("answered");
    assert_eq!(hits.len(), 8);
});
