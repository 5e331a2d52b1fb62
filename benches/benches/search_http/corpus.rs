//! Texts, their vectors and questions.

use std::path::Path;

use atlas_benches::{Clusters, DIMENSION, Random};
use atlas_domain::{Corpus, Facets, RecordDraft, RecordId, RecordKey, TenantScope, Timestamp};
use atlas_embed::{Embedder, TextHash};
use atlas_engines::{LocalEmbedder, LocalOptions};
use atlas_store::{Batch, Change, ChunkDraft, SqliteStore, Store};

const PER_COMMIT: usize = 2_000;
const CHUNKS_PER_RECORD: usize = 4;
const WORDS_PER_CHUNK: usize = 60;

/// Few words are frequent: the product of two even numbers.
fn word(random: &mut Random) -> String {
    const VOCABULARY: usize = 30_000;
    spelt(random.below(VOCABULARY) * random.below(VOCABULARY) / VOCABULARY)
}

fn words(random: &mut Random, count: usize) -> String {
    (0..count).map(|_| word(random)).collect::<Vec<_>>().join(" ")
}

/// A pronounceable word per number, so that the model's tokenizer has to work as with real ones.
fn spelt(mut number: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "con", "net", "tion", "ser", "ver", "disk", "time", "out", "lo", "ad", "re", "quest", "cache", "no",
        "de", "log",
    ];
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[number % 16]);
        number /= 16;
        if number == 0 {
            return word;
        }
    }
}

/// Questions of three to ten words, different for every seed.
pub(crate) fn questions(seed: u64) -> impl Iterator<Item = String> {
    let mut random = Random::new(seed);
    std::iter::repeat_with(move || {
        let count = 3 + random.below(8);
        words(&mut random, count)
    })
}

/// Writes runbooks of several chunks into the data directory of a server that is not running.
pub(crate) fn fill(data: &Path, n_chunks: usize) {
    let space = LocalEmbedder::load(&LocalOptions::default()).expect("the bundled model").space().clone();
    let store = SqliteStore::open(data).expect("an empty directory");
    let tenant = "default".parse().expect("a tenant id");
    store.create_tenant(&tenant).expect("created");
    #[expect(clippy::disallowed_methods, reason = "the one tenant of a directory that nobody else has")]
    let scope = TenantScope::grant(tenant);
    assert_eq!(space.dimension, DIMENSION, "vectors are made for the bundled model");
    let (mut random, mut clusters) = (Random::new(0), Clusters::new(1));
    let mut number = 0;
    let mut left = n_chunks;
    while left > 0 {
        let mut changes = Vec::new();
        let mut in_commit = 0;
        while left > 0 && in_commit < PER_COMMIT {
            let count = left.min(CHUNKS_PER_RECORD);
            let title = words(&mut random, 4);
            let chunks: Vec<ChunkDraft> = (0..count)
                .map(|_| {
                    let text = words(&mut random, WORDS_PER_CHUNK);
                    let vector = Some(clusters.vector());
                    ChunkDraft { heading: title.clone(), hash: TextHash::of(&text), text, vector }
                })
                .collect();
            let text = chunks.iter().map(|chunk| chunk.text.as_str()).collect::<Vec<_>>().join("\n\n");
            let record = RecordDraft {
                key: RecordKey::new(
                    Corpus::Runbooks,
                    RecordId::new(format!("runbook-{number}")).expect("short and printable"),
                ),
                title,
                facets: Facets {
                    service: Some(format!("service-{}", number % 100)),
                    ..Facets::at(Timestamp::UNIX_EPOCH)
                },
                text,
                body: serde_json::json!({}),
            };
            changes.push(Change::Put { record, chunks });
            number += 1;
            left -= count;
            in_commit += count;
        }
        store.commit(&scope, Batch { space: Some(space.id()), changes }).expect("committed");
    }
    store.close();
}
