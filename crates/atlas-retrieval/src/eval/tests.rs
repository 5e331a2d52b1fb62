use atlas_testkit::fake_embedder::Words;
use std::fs;
use std::time::Duration;

use super::*;

#[track_caller]
fn close(found: f64, expect: f64) {
    assert!((found - expect).abs() < 1e-9, "{found} is not {expect}");
}

#[track_caller]
fn check_ranking(found: &[&str], grades: &[(&str, u32)], ndcg: f64, mrr: f64, recall: f64) {
    let mut scores = score::Scores::default();
    let grades: BTreeMap<String, u32> =
        grades.iter().map(|(name, grade)| ((*name).to_owned(), *grade)).collect();
    let found: Vec<u32> = found.iter().map(|name| grades.get(*name).copied().unwrap_or(0)).collect();
    close(scores.add(&found, &grades, Duration::from_millis(3)), ndcg);
    let report = scores.report(9);
    close(report.ndcg_at_10, ndcg);
    close(report.mrr_at_10, mrr);
    close(report.hit_at_10, if mrr > 0.0 { 1.0 } else { 0.0 });
    close(report.recall_at_100, recall);
    close(report.p50_ms, 3.0);
}

#[test]
fn a_perfect_ranking_scores_one_and_an_empty_one_nothing() {
    check_ranking(&["a", "b"], &[("a", 2), ("b", 1)], 1.0, 1.0, 1.0);
    check_ranking(&[], &[("a", 1)], 0.0, 0.0, 0.0);
    check_ranking(&["x", "y"], &[("a", 1), ("x", 0)], 0.0, 0.0, 0.0);
}

#[test]
fn a_late_hit_is_discounted_by_its_rank() {
    check_ranking(
        &["x", "a"],
        &[("a", 1), ("b", 1)],
        (1.0 / 3f64.log2()) / (1.0 + 1.0 / 3f64.log2()),
        0.5,
        0.5,
    );
    let mut late: Vec<&str> = vec!["x"; 10];
    late.push("a");
    check_ranking(&late, &[("a", 1)], 0.0, 0.0, 1.0);
}

#[test]
fn correlation_is_of_ranks_and_ties_share_one() {
    close(score::spearman(&[0.1, 0.2, 0.9], &[1.0, 10.0, 11.0]), 1.0);
    close(score::spearman(&[0.9, 0.2, 0.1], &[1.0, 10.0, 11.0]), -1.0);
    close(score::spearman(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), 0.0);
    close(score::spearman(&[1.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]), 4.5 / (4.5f64 * 5.0).sqrt());
}

#[test]
fn report_fields_have_their_usual_names() {
    let report = score::Scores::default().report(0);
    let names: Vec<String> = serde_json::to_value(report)
        .expect("plain")
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    for name in ["ndcg@10", "mrr@10", "hit@10", "recall@100", "queries", "docs", "p50_ms"] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
}

const CORPUS: &str = r#"{"_id": "a", "title": "Disk", "text": "the disk is full"}
{"_id": "b", "title": "", "text": "the pod crashes"}
{"_id": "c", "text": "certificates expire"}
"#;
const QUERIES: &str = r#"{"_id": "1", "text": "full disk"}
{"_id": "b", "text": "the pod crashes"}
{"_id": "3", "text": "ungraded"}
"#;
const GRADES: &str = "query-id\tcorpus-id\tscore\n1\ta\t1\nb\tc\t1\n3\ta\t0\n";

fn written(corpus: &str, queries: &str, grades: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(dir.path().join("qrels")).expect("written");
    for (name, text) in [("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels/test.tsv", grades)] {
        fs::write(dir.path().join(name), text).expect("written");
    }
    dir
}

#[track_caller]
fn check_refused(corpus: &str, queries: &str, grades: &str, expect: &str) {
    let dir = written(corpus, queries, grades);
    let error = EvalSet::load(dir.path(), None).expect_err("malformed").to_string();
    assert!(error.contains(expect), "{error}");
}

#[test]
fn malformed_files_are_refused_with_file_and_line() {
    check_refused(&format!("{CORPUS}{{\"_id\": 7}}"), QUERIES, GRADES, "corpus.jsonl:4: ");
    check_refused(&format!("{CORPUS}{CORPUS}"), QUERIES, GRADES, "corpus.jsonl:4: the id a was there before");
    check_refused(CORPUS, "\n\nnonsense", GRADES, "queries.jsonl:3: ");
    check_refused(CORPUS, QUERIES, "q\td\ts\n1\ta\n", "test.tsv:2: there are not three columns");
    check_refused(CORPUS, QUERIES, "q\td\ts\n1\ta\tyes\n", "test.tsv:2: the grade \"yes\"");
    check_refused("", QUERIES, GRADES, "there are no documents");
    check_refused(CORPUS, QUERIES, "q\td\ts\n", "no query has a grade");
    let missing = EvalSet::load(written(CORPUS, QUERIES, GRADES).path(), Some(Path::new("other.jsonl")))
        .expect_err("missing");
    assert!(missing.to_string().contains("other.jsonl cannot be read"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_graded_queries_count_and_a_document_does_not_answer_itself() {
    let dir = written(CORPUS, QUERIES, GRADES);
    let set = EvalSet::load(dir.path(), None).expect("well-formed");
    for legs in [Legs::LEXICAL, Legs::VECTOR, Legs::HYBRID] {
        for chunking in [Chunking::Product, Chunking::None] {
            let (mut done, mut ndcg) = ((0, 0), 0.0);
            let mut observe = |step: EvalStep<'_>| match step {
                EvalStep::Done { steps, of } => done = (steps, of),
                EvalStep::Judged(query) => {
                    assert!(query.hits.iter().all(|hit| hit.id != query.query && !hit.legs.is_empty()));
                    ndcg += query.ndcg_at_10;
                }
            };
            let guard = Arc::new(Guard::new());
            let report =
                evaluate(&set, Words::engine(), guard, legs, chunking, &mut observe).await.expect("measured");
            assert_eq!((report.queries, report.docs), (2, 3));
            assert!(report.ndcg_at_10 >= 0.5, "{legs:?}: {report:?}");
            close(ndcg / 2.0, report.ndcg_at_10);
            assert_eq!(done, (5, 5));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_the_vector_leg_is_not_measured() {
    let dir = written(CORPUS, QUERIES, GRADES);
    let set = EvalSet::load(dir.path(), None).expect("well-formed");
    let ask = async |legs| {
        let guard = Arc::new(Guard::new());
        evaluate(&set, Embedding::KeywordsOnly, guard, legs, Chunking::Product, &mut |_| {}).await
    };
    let refused = ask(Legs::HYBRID).await;
    assert!(matches!(refused, Err(EvalError::NoVectors { .. })), "{refused:?}");
    ask(Legs::LEXICAL).await.expect("words need no engine");
}

#[tokio::test]
async fn sentence_similarity_is_compared_with_people() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("sts.jsonl");
    let pairs = r#"{"s1": "the disk is full", "s2": "the disk is full", "score": 5}
{"s1": "the disk is full", "s2": "the disk is empty", "score": 3.5}
{"s1": "the disk is full", "s2": "certificates expire tomorrow", "score": 0}
"#;
    fs::write(&file, pairs).expect("written");
    let report = sts(&file, &Words::engine(), &Guard::new()).await.expect("measured");
    close(report.spearman, 1.0);
    fs::write(&file, "{\"s1\": 1}").expect("written");
    let refused = sts(&file, &Words::engine(), &Guard::new()).await.expect_err("malformed");
    assert!(refused.to_string().contains("sts.jsonl:1: "), "{refused}");
}
