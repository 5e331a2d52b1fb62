//! Texts, their vectors and questions.

use std::path::Path;

use atlas_domain::{Corpus, Facets, RecordDraft, RecordId, RecordKey, TenantScope, Timestamp};
use atlas_embed::{Embedder, TextHash};
use atlas_engines::{LocalEmbedder, LocalOptions};
use atlas_store::{Batch, Change, ChunkDraft, SqliteStore, Store};

const PER_COMMIT: usize = 2_000;
const CHUNKS_PER_RECORD: usize = 4;
const WORDS_PER_CHUNK: usize = 60;
const CENTRES: u64 = 500;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn centred(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    }

    /// Few words are frequent: the product of two even numbers.
    fn word(&mut self) -> String {
        const VOCABULARY: u64 = 30_000;
        let rank = (self.next() % VOCABULARY) * (self.next() % VOCABULARY) / VOCABULARY;
        spelt(rank)
    }

    fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

/// A pronounceable word per number, so that the model's tokenizer has to work as with real ones.
fn spelt(mut number: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "con", "net", "tion", "ser", "ver", "disk", "time", "out", "lo", "ad", "re", "quest", "cache", "no",
        "de", "log",
    ];
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[(number % 16) as usize]);
        number /= 16;
        if number == 0 {
            return word;
        }
    }
}

/// Questions of three to ten words, different for every seed.
pub(crate) fn questions(seed: u64) -> impl Iterator<Item = String> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed);
    std::iter::repeat_with(move || {
        let count = 3 + (random.next() % 8) as usize;
        random.words(count)
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
    let mut random = Random(42);
    let centres: Vec<Vec<f32>> =
        (0..CENTRES).map(|_| (0..space.dimension).map(|_| random.centred()).collect()).collect();
    let mut number = 0;
    let mut left = n_chunks;
    while left > 0 {
        let mut changes = Vec::new();
        let mut in_commit = 0;
        while left > 0 && in_commit < PER_COMMIT {
            let count = left.min(CHUNKS_PER_RECORD);
            let title = random.words(4);
            let chunks: Vec<ChunkDraft> = (0..count)
                .map(|_| {
                    let text = random.words(WORDS_PER_CHUNK);
                    let centre = &centres[(random.next() % CENTRES) as usize];
                    let raw: Vec<f32> = centre.iter().map(|x| x + 0.7 * random.centred()).collect();
                    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
                    let vector = Some(raw.into_iter().map(|x| x / length).collect());
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
