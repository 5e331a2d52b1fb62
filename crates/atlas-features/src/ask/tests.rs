use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// A Wednesday.
const NOW: &str = "2026-11-25T12:00:00Z";

fn clock() -> Clock {
    Clock::utc(NOW.parse().expect("a time"))
}

fn read(text: &str) -> Understood {
    Question::read(text, clock(), &Vocabulary::default())
}

/// `expect`: since and until, without their date's year, month and zone (`24T18:00`), `` for open.
#[track_caller]
fn check_time(text: &str, since: &str, until: &str) {
    let understood = read(text);
    let range = understood.time.as_ref().map(|said| said.meaning).unwrap_or_default();
    let at = |text: &str| (!text.is_empty()).then(|| format!("2026-11-{text}:00Z").parse().expect("a time"));
    let expect = TimeRange { since: at(since), until: at(until) };
    assert_eq!(range, expect, "{text}: {understood:?}");
}

#[track_caller]
fn check_no_time(text: &str) {
    let understood = read(text);
    assert_eq!(understood.time, None, "{text}");
}

#[track_caller]
fn check_in(vocabulary: &Vocabulary, text: &str, expect: &[(Field, &str)], query: &str) {
    let understood = Question::read(text, clock(), vocabulary);
    let conditions: Vec<(Field, &str)> = understood
        .conditions
        .iter()
        .map(|said| (said.meaning.field, said.meaning.values[0].as_str()))
        .collect();
    assert_eq!(conditions, expect, "{text}");
    assert_eq!(understood.query, query, "{text}");
    for said in &understood.conditions {
        assert_eq!(&text[said.span.start..said.span.end], said.phrase);
    }
}

#[track_caller]
fn check(text: &str, expect: &[(Field, &str)], query: &str) {
    check_in(&Vocabulary::default(), text, expect, query);
}

#[test]
fn a_time_that_ends_now_is_as_long_as_it_was_said() {
    check_time("timeouts in the last 2 hours", "25T10:00", "");
    check_time("timeouts in the past hour", "25T11:00", "");
    check_time("timeouts over the last 30 min", "25T11:30", "");
    check_time("timeouts within the previous two days", "23T12:00", "");
    check_time("last 24h of timeouts", "24T12:00", "");
    check_time("timeouts for the past couple of weeks", "11T12:00", "");
    check_time("timeouts during the past week in the queue", "18T12:00", "");
    check_time("timeouts in the last 90-minute window", "25T10:30", "");
}

#[test]
fn days_and_their_parts_are_those_of_the_calendar() {
    check_time("what failed yesterday?", "24T00:00", "25T00:00");
    check_time("what failed today", "25T00:00", "26T00:00");
    check_time("what failed last night?", "24T18:00", "25T06:00");
    check_time("what failed this morning", "25T00:00", "25T12:00");
    check_time("what failed yesterday evening", "24T18:00", "25T00:00");
    check_time("what failed on Monday", "23T00:00", "24T00:00");
    check_time("what failed on Monday in the afternoon", "23T12:00", "23T18:00");
    check_time("what failed last wednesday", "18T00:00", "19T00:00");
    check_time("what failed the day before yesterday", "23T00:00", "24T00:00");
    check_time("what failed this week", "23T00:00", "30T00:00");
    check_time("what failed last week", "16T00:00", "23T00:00");
    check_time("what failed on 2026-11-03", "03T00:00", "04T00:00");
    check_time("what failed on November 3rd, 2026", "03T00:00", "04T00:00");
    check_time("what failed over the weekend", "21T00:00", "23T00:00");
    check_time("what failed in the last half hour", "25T11:30", "");
    check_time("what failed on 3 Nov", "03T00:00", "04T00:00");
}

#[test]
fn months_and_quarters_are_whole() {
    let check = |text: &str, since: &str, until: &str| {
        let range = read(text).time.expect("a time").meaning;
        let at = |date: &str| Some(format!("{date}T00:00:00Z").parse().expect("a time"));
        assert_eq!(range, TimeRange { since: at(since), until: at(until) }, "{text}");
    };
    check("what failed in November?", "2026-11-01", "2026-12-01");
    check("what failed in december", "2025-12-01", "2026-01-01");
    check("what failed this month", "2026-11-01", "2026-12-01");
    check("what failed last month", "2026-10-01", "2026-11-01");
    check("what failed this quarter", "2026-10-01", "2027-01-01");
    check("what failed in the last quarter", "2026-07-01", "2026-10-01");
}

#[test]
fn bounds_are_moments() {
    check_time("errors since 09:30", "25T09:30", "");
    check_time("errors since 14:00", "24T14:00", "");
    check_time("errors since yesterday", "24T00:00", "");
    check_time("errors since yesterday 22:00", "24T22:00", "");
    check_time("errors since 3 hours ago", "25T09:00", "");
    check_time("errors before noon", "", "25T12:00");
    check_time("errors after 2026-11-24T08:00:00Z", "24T08:00", "");
    check_time("errors between 9am and 10:30 am", "25T09:00", "25T10:30");
    check_time("errors between 14:00 and 15:00", "24T14:00", "24T15:00");
    check_time("errors between 23:00 and 01:00", "24T23:00", "25T01:00");
    check_time("errors between 14:00 and 15:00 on Monday", "23T14:00", "23T15:00");
    check_time("errors yesterday between 14:00 and 15:00", "24T14:00", "24T15:00");
    check_time("errors from 2026-11-01 to 2026-11-03", "01T00:00", "04T00:00");
    check_time("errors yesterday at 14:00", "24T13:45", "24T14:15");
    check_time("errors yesterday after 22:00", "24T22:00", "25T00:00");
    check_time("errors around 10:00", "25T09:45", "25T10:15");
    check_time("what broke 2 hours ago", "25T09:30", "25T10:30");
    check_time("errors today since 09:00 before 10:00", "25T09:00", "25T10:00");
}

#[test]
fn what_is_almost_a_time_is_none() {
    for text in [
        "the last login of bob",
        "requests longer than 2 minutes",
        "errors per hour",
        "the last 5 attempts",
        "why may this fail since it worked",
        "what says 'no space in the last hour' here",
        "the second replica of the monday service",
        "in 2 of 3 zones",
        "between the proxy and the server",
        "retry after 30 seconds",
        "what may fail this way",
        "who works on weekends",
    ] {
        check_no_time(text);
    }
}

#[test]
fn a_place_has_its_own_night() {
    let clock = Clock::with_offset(NOW.parse().expect("a time"), "+02:00").expect("an offset");
    let understood = Question::read("what failed last night", clock, &Vocabulary::default());
    let range = understood.time.expect("a time").meaning;
    assert_eq!(range.since, Some("2026-11-24T16:00:00Z".parse().expect("a time")));
    for (text, is_offset) in [
        ("Z", true),
        ("-0530", true),
        ("+9", true),
        ("", false),
        ("Berlin", false),
        ("+15:00", false),
        ("+é", false),
    ] {
        assert_eq!(Clock::with_offset(NOW.parse().expect("a time"), text).is_some(), is_offset, "{text}");
    }
}

#[test]
fn the_deploy_is_the_callers_and_without_one_the_answer_says_so() {
    let deployed_at = Some("2026-11-25T08:15:00Z".parse().expect("a time"));
    let known = clock().deployed(deployed_at);
    let text = "errors in checkout since the last deploy";
    let understood = Question::read(text, known, &Vocabulary::default());
    let said = understood.time.expect("a time");
    assert_eq!((said.meaning.since, said.phrase.as_str()), (deployed_at, "since the last deploy"));
    let understood = read(text);
    assert_eq!((understood.time, understood.notes.len()), (None, 1));
    assert!(understood.query.contains("since the last deploy"), "what is not used is looked for");
}

#[test]
fn times_that_exclude_each_other_are_not_both_used() {
    let understood = read("errors yesterday and since 09:00");
    assert_eq!(understood.time.expect("the first").phrase, "yesterday");
    let said = read("why did it fail at 03:15 last night?").time.expect("both");
    assert_eq!(said.phrase, "at 03:15 last night", "what narrows a time is part of its phrase");
    assert_eq!(understood.notes, ["\"since 09:00\" is not used: it excludes \"yesterday\""]);
}

#[test]
fn a_cue_makes_a_name() {
    use Field::*;
    check("timeouts for application 'shop-eu'", &[(Service, "shop-eu")], "timeouts");
    check("timeouts in service checkout", &[(Service, "checkout")], "timeouts");
    check("timeouts from the pay_api application?", &[(Service, "pay_api")], "timeouts");
    check("reboots on host db-1.eu.local", &[(Host, "db-1.eu.local")], "reboots");
    check("reboots of compute node n17", &[(Host, "n17")], "reboots");
    check("reboots of hostname 'LabA'", &[(Host, "LabA")], "reboots");
    check("stalls in component net.pool", &[(Component, "net.pool")], "stalls");
    check("stalls in the edge-proxy logs", &[(Source, "edge-proxy")], "stalls");
    check("alerts with severity high", &[(Severity, "high")], "alerts");
    check("list critical alerts", &[(Severity, "critical")], "list alerts");
    check("show ERROR messages", &[(Severity, "error")], "show messages");
    check("open incidents about DNS", &[(Status, "open")], "incidents about DNS");
    check("which alerts are still firing?", &[(Status, "firing")], "which alerts are still firing?");
}

#[test]
fn without_a_cue_only_what_can_be_nothing_else_is_a_name() {
    use Field::*;
    check("stalls for shop-eu on LabA-2", &[(Service, "shop-eu"), (Host, "LabA-2")], "stalls");
    check("which stalls in shop-eu, as they hurt", &[(Service, "shop-eu")], "which stalls as they hurt");
    check("what stalls in shop-eu as it restarts", &[(Service, "shop-eu")], "what stalls as it restarts");
    check("stalls in shop-eu over the last hour", &[(Service, "shop-eu")], "stalls");
    for text in [
        "errors in real-time processing",
        "is this for read-only replicas",
        "timeouts in eu-west-1",
        "which file is blk_778899001122?",
        "the file system is full",
        "breakdown of p99-latency values",
        "the service restarts",
        "which error messages are new",
        "any errors of blk_-4455667788990011",
        "the PAM service ignores it",
        "see /v2/servers/a-b on it",
        "an 'error in shop-eu here' was quoted",
        "what is the status code",
        "the application is down",
    ] {
        check(text, &[], text);
    }
}

#[test]
fn the_tenants_words_are_names_where_a_name_stands() {
    use Field::*;
    let mut known = Vocabulary::default();
    known.add(Service, "checkout");
    known.add(Service, "Order Desk");
    known.add(Source, "kafka");
    known.add_label("instance", "node-12");
    known.add(Severity, "sev-a");
    let check = |text: &str, expect: &[(Field, &str)], query: &str| check_in(&known, text, expect, query);
    check("why is checkout slow?", &[(Service, "checkout")], "why is checkout slow?");
    check("errors of Checkout's pool", &[(Service, "checkout")], "errors of Checkout's pool");
    check("timeouts of order desk", &[(Service, "Order Desk")], "timeouts of order desk");
    check("lag in the kafka logs", &[(Source, "kafka")], "lag");
    check("is node-12 full", &[(Host, "node-12")], "is node-12 full");
    check("list sev-a incidents", &[(Severity, "sev-a")], "list incidents");
    check("how to checkout a branch", &[], "how to checkout a branch");
    check("stalls for shop-eu", &[], "stalls for shop-eu");
    let understood = Question::read("disk of host node-12 today", clock(), &known);
    let filter = understood.filter(&known);
    assert_eq!(filter.labels.get("instance").map(String::as_str), Some("node-12"));
    assert!(filter.since.is_some() && filter.until.is_some());
}

#[test]
fn a_level_is_looked_for_under_the_names_that_records_have() {
    let values = |text: &str| read(text).conditions[0].meaning.values.clone();
    assert_eq!(values("warning logs of it"), ["warning", "warn"]);
    assert_eq!(values("critical alerts of it"), ["critical"]);
    assert_eq!(values("critical log lines"), ["critical", "fatal"]);
}

#[test]
fn terms_stay_in_the_query() {
    let text = "did user 'bob' from 10.0.0.7:22 open blk_-4455667 or 0b54c1aa-77d0-4e0e-9f5e-2f1c3d6a9b10 with 'lease was revoked'?";
    let understood = read(text);
    let terms: Vec<(TermKind, &str)> =
        understood.terms.iter().map(|said| (said.meaning.kind, said.meaning.value.as_str())).collect();
    let expect = [
        (TermKind::User, "bob"),
        (TermKind::Ip, "10.0.0.7:22"),
        (TermKind::Id, "blk_-4455667"),
        (TermKind::Id, "0b54c1aa-77d0-4e0e-9f5e-2f1c3d6a9b10"),
        (TermKind::Phrase, "lease was revoked"),
    ];
    assert_eq!(terms, expect);
    assert!(terms.iter().all(|(_, value)| understood.query.contains(value)));
}

proptest! {
    #[test]
    fn any_text_is_read(
        text in ".{0,80}",
        pieces in proptest::collection::vec(
            prop_oneof![
                "in|on|the|last|past|since|between|and|at|ago|yesterday|night|deploy|application|host|level|logs|alerts|critical|nov|monday|this|month",
                "[0-9]{1,12}(h|pm|:[0-9]{2})?", "['\"“”(]?[a-z]{1,4}-[0-9a-z]{1,3}['\",.?]?", "9999-12-31|-9999-01-01|é|\u{212a}"
            ],
            0..12
        ),
    ) {
        let mut known = Vocabulary::default();
        known.add(Field::Service, "ab-1");
        for text in [text, pieces.join(" ")] {
            for vocabulary in [&known, &Vocabulary::default()] {
                let understood = Question::read(&text, clock(), vocabulary);
                for said in &understood.conditions {
                    prop_assert_eq!(&text[said.span.start..said.span.end], said.phrase.as_str());
                }
                if let Some(said) = &understood.time {
                    prop_assert_eq!(&text[said.span.start..said.span.end], said.phrase.as_str());
                    let range = said.meaning;
                    prop_assert!(range.since.is_none() || range.until.is_none() || range.since < range.until);
                }
                prop_assert!(understood.query.split_whitespace().all(|word| text.contains(word)));
            }
        }
    }

    #[test]
    fn a_long_text_is_read_at_once(piece in "['\"a-z0-9 -]{1,6}") {
        let text = piece.repeat(20_000);
        let began = Instant::now();
        Question::read(&text, clock(), &Vocabulary::default());
        prop_assert!(began.elapsed() < Duration::from_secs(2));
    }
}
