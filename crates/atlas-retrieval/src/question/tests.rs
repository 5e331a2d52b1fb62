use std::collections::BTreeMap;

use atlas_domain::RecordId;
use proptest::prelude::*;

use super::*;

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().expect("a time")
}

#[track_caller]
fn check(text: &str, expect: Question) {
    assert_eq!(read(text, now()), expect);
}

#[track_caller]
fn check_filter(text: &str, expect: Filter) {
    check(text, Question { filter: expect, ..Question::default() });
}

#[track_caller]
fn check_words(text: &str) {
    let question = read(text, now());
    assert_eq!(question, Question::words(text), "{text}");
    assert_eq!(question.read_as(), None);
}

#[track_caller]
fn check_noted(text: &str, part: &str, reason: &str) {
    let question = read(text, now());
    let [note] = question.notes.as_slice() else { panic!("{question:?}") };
    assert_eq!(note.part, part);
    assert!(note.reason.contains(reason), "{}", note.reason);
    assert!(question.text.contains(part), "what is no operator is a word: {question:?}");
}

#[test]
fn words_are_words() {
    for text in [
        "why is the disk full?",
        "level=error 10.250.7.146:50010 http://runbooks.example/a",
        "java -Xmx512m --verbose -version2 -n 3",
        "rm -rf /var/log, kubectl -n kube-system",
        "reason: something, status : bad",
        "blk_-3276 and -1 and a-b",
        "5\"disk and 3\" pipe",
    ] {
        check_words(text);
    }
}

#[test]
fn pasted_text_is_words() {
    check_words("{\"level\": \"error\", \"msg\": \"timeout waiting\"}");
    check_words("first -line\n\"second\" service:checkout");
    check_words("[main] service:checkout \"x y\"");
}

#[test]
fn a_field_with_a_value_is_a_condition() {
    let one = |value: &str| vec![value.to_owned()];
    check_filter("service:checkout", Filter { service: one("checkout"), ..Filter::default() });
    check_filter(
        "service:\"order desk\" severity:Critical",
        Filter { service: one("order desk"), severity: one("critical"), ..Filter::default() },
    );
    check_filter(
        "source:kafka, status:firing",
        Filter { source: one("kafka"), status: one("firing"), ..Filter::default() },
    );
    let labels =
        BTreeMap::from([("team".to_owned(), "pay".to_owned()), ("a.b/c".to_owned(), "x".to_owned())]);
    check_filter("label:team=pay label.a.b/c:x", Filter { labels, ..Filter::default() });
    check_filter(
        "service:a service:b",
        Filter { service: vec!["a".into(), "b".into()], ..Filter::default() },
    );
    let id = RecordId::new("disk/Full.md").expect("a plain id");
    let demands = Demands { ids: vec![id], ..Demands::NONE };
    check("id:disk/Full.md", Question { demands, ..Question::default() });
}

#[test]
fn times_narrow_and_the_narrower_counts() {
    let at = |text: &str| Some(text.parse::<Timestamp>().expect("a time"));
    check_filter("since:2h", Filter { since: at("2026-11-25T10:00:00Z"), ..Filter::default() });
    check_filter("before:2026-11-01", Filter { until: at("2026-11-01T00:00:00Z"), ..Filter::default() });
    check_filter(
        "after:2026-11-01T14:00:00Z since:1w until:30m",
        Filter { since: at("2026-11-18T12:00:00Z"), until: at("2026-11-25T11:30:00Z"), ..Filter::default() },
    );
}

#[test]
fn a_quotation_alone_is_a_demand_and_in_a_sentence_it_is_none() {
    let plain = |text: &str| text.replace(['"', '“', '”'], "");
    for text in ["\"connection refused\"", "postgres “connection refused”"] {
        let demands = Demands { phrases: vec!["connection refused".into()], ..Demands::NONE };
        check(text, Question { text: plain(text), demands, ..Question::default() });
    }
    let text = "page causes a \"script not responding\" error";
    let phrases = vec!["script not responding".into()];
    check(text, Question { text: plain(text), phrases, ..Question::default() });
}

#[test]
fn what_stands_behind_a_minus_is_left_out() {
    check(
        "timeout -payments -\"dry run\" -severity:info",
        Question {
            text: "timeout".into(),
            demands: Demands {
                without: vec!["payments".into(), "dry run".into()],
                except: vec![Filter { severity: vec!["info".into()], ..Filter::default() }],
                ..Demands::NONE
            },
            ..Question::default()
        },
    );
}

#[test]
fn what_is_no_operator_is_searched_and_named() {
    check_noted("disk \"full", "\"full", "not closed");
    check_noted("disk since:yesterday", "since:yesterday", "write 2h, 7d");
    check_noted("disk label:team", "label:team", "label:name=value");
    check_noted("disk severty:critical", "severty:critical", "severity is");
    check_noted("disk -since:2h", "-since:2h", "cannot be left out");
    check_noted("disk NOT full", "NOT", "write -word");
    check_noted("disk OR volume", "OR", "more of the words");
    check_noted("disk service:\"\"", "service:\"\"", "no value");
}

#[test]
fn conditions_of_a_request_and_of_its_query_both_hold() {
    let services = |names: &[&str]| Filter {
        service: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Filter::default()
    };
    assert_eq!(both(&services(&["a", "b"]), &services(&["b", "c"])), Some(services(&["b"])));
    assert_eq!(both(&services(&[]), &services(&["b"])), Some(services(&["b"])));
    assert_eq!(both(&services(&["a"]), &services(&["b"])), None);
    let team = |name: &str| Filter {
        labels: BTreeMap::from([("team".to_owned(), name.to_owned())]),
        ..Filter::default()
    };
    assert_eq!(both(&team("a"), &team("b")), None);
    let until = |hour: i64| Filter { until: Timestamp::from_second(hour).ok(), ..Filter::default() };
    assert_eq!(both(&until(1), &until(2)), Some(until(1)));
    assert_eq!(both(&until(1), &Filter::default()), Some(until(1)));
}

proptest! {
    #[test]
    fn any_text_is_read(text in ".{0,60}", marks in "[-+:=\"“” a-z.]{0,40}", fields in "(-?(service|label|since|id|before):?\"?[a-z0-9=]{0,4}\"? ?){0,4}") {
        for text in [text, marks, fields] {
            let question = read(&text, now());
            prop_assert!(question.text.split_whitespace().all(|word| text.contains(word)), "{question:?}");
        }
    }
}
