//! Questions over all lines, one after the other.

use std::time::Instant;

use atlas_benches::{Answer, Connection};
use serde_json::{Value, json};

use super::lines::Lines;

const QUESTIONS: usize = 200;

/// Asks the question of a number, and says how much was found.
type Question<'a> = Box<dyn FnMut(usize, &mut Connection) -> usize + 'a>;

/// Whether the line with this word can be found.
pub(crate) fn finds(connection: &mut Connection, word: &str) -> bool {
    let answer = search(connection, word, json!({}));
    let hits = serde_json::from_str::<Value>(&answer.body).expect("JSON");
    hits["hits"].as_array().is_some_and(|hits| {
        hits.iter().any(|hit| hit["passage"]["text"].as_str().is_some_and(|text| text.contains(word)))
    })
}

fn search(connection: &mut Connection, query: &str, filter: Value) -> Answer {
    let mut question = json!({"query": query, "corpora": ["logs"], "limit": 10});
    if let (Some(question), Some(filter)) = (question.as_object_mut(), filter.as_object()) {
        question.extend(filter.clone());
    }
    let answer = connection.post("/api/search", "application/json", question.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// p50 and p99 of every kind of question, in milliseconds.
pub(crate) fn ask(connection: &mut Connection, source: &Lines, n_lines: usize) -> Value {
    let templates = connection.get("/api/logs/templates?limit=200");
    assert_eq!(templates.status, 200, "{}", templates.body);
    let templates: Value = serde_json::from_str(&templates.body).expect("JSON");
    let templates: Vec<String> = templates["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["id"].as_str().map(str::to_owned))
        .collect();
    println!("{} templates seen last", templates.len());
    let spread = |n: usize| n.wrapping_mul(104_729) % n_lines;
    let time = |n: usize| {
        let seconds = Lines::at_ns(spread(n)) / 1_000_000_000;
        let at = |seconds: i64| {
            // Whole seconds of 15 June 2025, without a library for dates.
            let of_day = seconds - 1_749_945_600;
            format!("2025-06-15T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
        };
        (at(seconds), at(seconds + 10))
    };
    let words = [
        "connection refused",
        "authentication failure root",
        "block terminating",
        "GET servers detail",
        "timed out",
    ];

    let mut report = json!({});
    let mut measure = |name: &str, mut question: Question<'_>| {
        let mut n_hits = 0;
        let mut times: Vec<f64> = (0..QUESTIONS)
            .map(|n| {
                let began = Instant::now();
                n_hits += usize::from(question(n, connection) > 0);
                began.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let (p50, p99) = (times[QUESTIONS / 2], times[(QUESTIONS - 1) * 99 / 100]);
        println!("{name}: p50 {p50:.2} ms p99 {p99:.2} ms ({n_hits} of {QUESTIONS} answered with something)");
        report[name] = json!({"p50": p50, "p99": p99});
    };
    let found = |answer: &Answer| answer.body.matches("\"id\":").count();
    measure(
        "an identifier",
        Box::new(|n, connection| found(&search(connection, &source.marker(spread(n)), json!({})))),
    );
    measure("words", Box::new(|n, connection| found(&search(connection, words[n % words.len()], json!({})))));
    measure(
        "words of a service in ten seconds",
        Box::new(|n, connection| {
            let (since, until) = time(n);
            let filter =
                json!({"filter": {"since": since, "until": until, "service": ["hdfs", "linux", "shop"]}});
            found(&search(connection, words[n % words.len()], filter))
        }),
    );
    measure(
        "newest lines of a template",
        Box::new(|n, connection| {
            let answer =
                connection.get(&format!("/api/logs?limit=10&template={}", templates[n % templates.len()]));
            assert_eq!(answer.status, 200, "{}", answer.body);
            found(&answer)
        }),
    );
    measure(
        "lines of a template in ten seconds",
        Box::new(|n, connection| {
            let (since, until) = time(n);
            let template = &templates[n % templates.len()];
            let answer = connection
                .get(&format!("/api/logs?limit=10&template={template}&since={since}&until={until}"));
            assert_eq!(answer.status, 200, "{}", answer.body);
            found(&answer)
        }),
    );
    measure(
        "surges of ten seconds",
        Box::new(|n, connection| {
            let (since, until) = time(n);
            let answer = connection.get(&format!("/api/logs/surges?since={since}&until={until}"));
            assert_eq!(answer.status, 200, "{}", answer.body);
            1
        }),
    );
    report
}
