//! Markdown to passages: reading, counting word pieces, cutting.
//!
//! Throughput is bytes of Markdown; the tokenizer is the bundled model's.

use std::hint::black_box;
use std::time::Duration;

use atlas_benches::Prose;
use atlas_embed::Embedder;
use atlas_engines::{LocalEmbedder, LocalOptions};
use atlas_retrieval::passages;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// A runbook with `sections` sections of two paragraphs, a list and a code block.
fn runbook(sections: usize) -> String {
    let mut prose = Prose::new(7);
    let mut markdown = "# A runbook\n\n".to_owned();
    for section in 0..sections {
        let (first, second, item) = (prose.text(80), prose.text(60), prose.text(12));
        markdown.push_str(&format!(
            "## Section {section}\n\n{first}\n\n{second}\n\n- {item}\n- {item}\n\n```sh\nkubectl get pods -n shop\n```\n\n"
        ));
    }
    markdown
}

fn chunking(criterion: &mut Criterion) {
    let embedder = LocalEmbedder::load(&LocalOptions::default()).expect("the bundled model");
    let mut group = criterion.benchmark_group("chunk");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for sections in [4, 40] {
        let markdown = runbook(sections);
        group.throughput(Throughput::Bytes(markdown.len() as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(format!("{sections} sections")),
            &markdown,
            |bencher, markdown| {
                bencher.iter(|| black_box(passages("A runbook", markdown, embedder.tokens())));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, chunking);
criterion_main!(benches);
