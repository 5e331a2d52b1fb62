//! What a query can ask for beside words.

use atlas_domain::{Facets, Filter, RecordId, Timestamp};

use super::{Correction, Demands, LexicalAnswer, LexicalChange, LexicalIndex, LexicalQuery};

fn id(name: &str) -> RecordId {
    RecordId::new(name).expect("short and printable")
}

/// Records `r0`, `r1`, ... with their texts, one second after the other, every second one of the
/// service `shop`.
fn index(texts: &[&str]) -> LexicalIndex {
    let put = |(number, text): (usize, &&str)| LexicalChange::Put {
        id: id(&format!("r{number}")),
        title: String::new(),
        text: (*text).to_owned(),
        facets: Facets {
            service: (number % 2 == 1).then(|| "shop".to_owned()),
            ..Facets::at(Timestamp::from_second(number as i64).expect("near the epoch"))
        },
        exact: Vec::new(),
    };
    let changes: Vec<_> = texts.iter().enumerate().map(put).collect();
    let index = LexicalIndex::open(None).expect("memory").index;
    index.apply(&changes, 1).expect("applied");
    index
}

fn ask(index: &LexicalIndex, text: &str, phrases: &[String], demands: &Demands) -> LexicalAnswer {
    let asked = LexicalQuery { text, phrases, filter: &Filter::default(), demands };
    index.search(asked, 10).expect("any text is a query")
}

fn names(answer: &LexicalAnswer) -> Vec<&str> {
    answer.hits.iter().map(|hit| hit.id.as_str()).collect()
}

#[track_caller]
fn check(index: &LexicalIndex, text: &str, demands: &Demands, expect: &[&str]) {
    assert_eq!(names(&ask(index, text, &[], demands)), expect);
}

const TEXTS: &[&str] = &[
    "connection was refused by the database",
    "dial tcp: connection refused",
    "connection refused while the payment was retried",
    "the disk is full",
];

fn phrases(texts: &[&str]) -> Demands {
    Demands { phrases: texts.iter().map(|text| (*text).to_owned()).collect(), ..Demands::NONE }
}

fn without(texts: &[&str]) -> Demands {
    Demands { without: texts.iter().map(|text| (*text).to_owned()).collect(), ..Demands::NONE }
}

#[test]
fn a_demanded_phrase_stands_side_by_side() {
    let index = index(TEXTS);
    check(&index, "connection refused", &phrases(&["connection refused"]), &["r1", "r2"]);
    check(&index, "connection refused", &phrases(&["refused connection"]), &[]);
    check(&index, "tcp", &phrases(&["Connections Refused", "dial tcp"]), &["r1"]);
    check(&index, "connection", &phrases(&["tcp"]), &["r1"]);
}

#[test]
fn a_phrase_that_is_no_demand_comes_first() {
    let index = index(&["refused: a connection", "a connection refused", "refused"]);
    let answer = ask(&index, "connection refused", &["connection refused".to_owned()], &Demands::NONE);
    assert_eq!(names(&answer)[0], "r1");
    assert_eq!(answer.hits.len(), 3);
}

#[test]
fn what_is_excluded_is_not_found() {
    let index = index(TEXTS);
    check(&index, "connection", &without(&["payments"]), &["r1", "r0"]);
    check(&index, "connection", &without(&["connection refused"]), &["r0"]);
    let shop = Filter { service: vec!["shop".into()], ..Filter::default() };
    let except = Demands { except: vec![shop], ..Demands::NONE };
    check(&index, "connection", &except, &["r0", "r2"]);
}

#[test]
fn only_the_named_records_are_found() {
    let index = index(TEXTS);
    let demands = Demands { ids: vec![id("r2"), id("r3"), id("none")], ..Demands::NONE };
    check(&index, "connection disk", &demands, &["r3", "r2"]);
    check(&index, "", &demands, &["r3", "r2"]);
}

#[test]
fn conditions_alone_list_the_newest() {
    let index = index(TEXTS);
    check(&index, "", &without(&["full"]), &["r2", "r1", "r0"]);
    check(&index, "", &Demands::NONE, &[]);
    let filter = Filter { service: vec!["shop".into()], ..Filter::default() };
    let answer = index.search(LexicalQuery::words("", &filter), 10).expect("any text is a query");
    assert_eq!(names(&answer), ["r3", "r1"]);
}

#[test]
fn another_leg_can_keep_to_the_demands() {
    let index = index(TEXTS);
    let ids: Vec<RecordId> = ["r0", "r1", "r3", "none"].map(id).to_vec();
    let admitted = index.admitted(&ids, &phrases(&["connection refused"])).expect("asked");
    assert_eq!(admitted, [id("r1")].into());
    let admitted = index.admitted(&ids, &without(&["connection"])).expect("asked");
    assert_eq!(admitted, [id("r3")].into());
}

#[test]
fn a_misspelt_word_is_searched_as_the_words_it_may_have_been() {
    let index = index(TEXTS);
    let answer = ask(&index, "databsae", &[], &Demands::NONE);
    assert_eq!(names(&answer), ["r0"]);
    let correction = Correction { word: "databsa".into(), readings: vec!["databas".into()] };
    assert_eq!(answer.corrections, [correction]);
    // Too short, no letters, another first letter: nothing is guessed.
    for unknown in ["dsk", "xonnection", "12345", "zzzzz"] {
        let answer = ask(&index, unknown, &[], &Demands::NONE);
        assert!(answer.hits.is_empty() && answer.corrections.is_empty(), "{unknown}: {answer:?}");
    }
}

#[test]
fn an_identifier_that_is_written_twice_counts_once() {
    let index = index(&["from 10.250.7.146 to 10.250.7.146 x", "received one block from 10.250.7.146"]);
    check(&index, "what was received from 10.250.7.146?", &Demands::NONE, &["r1", "r0"]);
    let hits = ask(&index, "10.250.7.146", &[], &Demands::NONE).hits;
    assert_eq!(hits[0].score, hits[1].score);
}

#[test]
fn no_record_scores_more_than_is_possible() {
    let index = index(TEXTS);
    for text in ["disk", "full disk", "connection refused tcp", "unknown words only", "disk disk disk"] {
        let answer = ask(&index, text, &[], &Demands::NONE);
        assert!(answer.best_possible > 0.0);
        assert!(answer.hits.iter().all(|hit| hit.score <= answer.best_possible), "{text}: {answer:?}");
    }
}

#[test]
fn a_title_counts_more_than_a_mention() {
    let put = |name: &str, title: &str, text: &str| LexicalChange::Put {
        id: id(name),
        title: title.into(),
        text: text.into(),
        facets: Facets::at(Timestamp::UNIX_EPOCH),
        exact: Vec::new(),
    };
    let index = LexicalIndex::open(None).expect("memory").index;
    let changes = [put("mention", "Pods restart", "the disk"), put("title", "The disk", "pods restart")];
    index.apply(&changes, 1).expect("applied");
    check(&index, "disk", &Demands::NONE, &["title", "mention"]);
}

#[test]
fn among_many_records_a_rare_word_finds_its_own_and_common_words_order_them() {
    let text = |number: usize| match number {
        7 => "shop request req-000123 failed".to_owned(),
        8 => "node request req-000123 retried".to_owned(),
        _ => format!("shop request req-{number:06}"),
    };
    let texts: Vec<String> = (0..500).map(text).collect();
    let index = index(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    check(&index, "shop req-000123", &Demands::NONE, &["r123", "r7", "r8"]);
    // None with the rare word is admitted: the common ones are all there is.
    let demands = without(&["req-000123"]);
    assert_eq!(names(&ask(&index, "shop req-000123", &[], &demands)).len(), 10);
}
