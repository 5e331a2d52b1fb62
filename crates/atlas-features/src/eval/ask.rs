//! How well questions are read, judged by LogQL queries that people wrote for the same questions.
//!
//! Truth of the fields: the labels of the stream selectors, `application` as service, `hostname`
//! as host, `log_file_type` as source, `component`, and `log_level` as severity. A label counts
//! when one of its values occurs in the question as a whole name, in letters of any size, a
//! `log_level` only as it is written; for what a question does not name there is nothing to read.
//! Truth of the time: the ranges in brackets. It counts when the question has `last`, `past` or
//! `previous` with a unit of time at most two words behind, or `yesterday`, `today`, `tonight`;
//! this is judged without the reader that is being judged. A read time is exact when it is as long
//! as one of the ranges, and ends before now where the query has an `offset`.
//!
//! A question is exact when every field has exactly the named values, no field has another, and
//! its time is exact, or none where none is named. Where a question and its query disagree, that
//! is a failure too, with two exceptions, counted as `unlabelled`: a query without any range for
//! a question with a time, and a read value that the query has in no label although it is a value
//! of that label in another query, or stands in a line filter of this one. `strict` counts these
//! as failures as well.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use atlas_domain::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::folder;
use super::logql::{self, Selection};
use crate::ask::{Clock, Field, Question, Understood, Vocabulary};
use crate::error::FeatureError;

const FILES: [&str; 2] = ["openstack_questions.jsonl", "nl_logql_pairs.jsonl"];

#[derive(Debug, Clone, Deserialize)]
struct Pair {
    question: String,
    #[serde(alias = "logql_query")]
    logql: String,
}

/// How well questions were read. Shares are of the questions that name what is judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AskReport {
    /// Questions.
    pub questions: usize,
    /// Questions that name a time or a field.
    pub named: usize,
    /// Share of them read exactly.
    pub exact: f64,
    /// Questions that name a time.
    pub time_named: usize,
    /// Share of them with exactly that time.
    pub time_exact: f64,
    /// Questions that name a field.
    pub field_named: usize,
    /// Share of them with exactly these fields.
    pub field_exact: f64,
    /// Questions in which something was read that the query has no label or range for.
    pub unlabelled: usize,
    /// `exact` with `unlabelled` as failures.
    pub strict: f64,
    /// The share `exact` of one half of the questions, by their hashes: the half by which the
    /// rules were developed.
    pub first_half: f64,
    /// The same of the other half. Of the public questions it was 0.913 when it was judged for
    /// the first time; then its failures were looked at, which added conjunctions behind a name.
    pub second_half: f64,
}

/// One judged question.
#[derive(Debug, Clone, Serialize)]
pub struct JudgedQuestion {
    /// The question.
    pub question: String,
    /// Whether it belongs to the half by which the rules were developed.
    pub first_half: bool,
    /// Fields that it names, by the query.
    pub fields: BTreeMap<Field, BTreeSet<String>>,
    /// Ranges of the query in seconds.
    pub ranges: Vec<i64>,
    /// How it was read.
    pub read: Understood,
    /// Whether it names a time and the query has one.
    pub names_time: bool,
    /// Whether the time is right.
    pub time_exact: bool,
    /// Whether the fields are right.
    pub field_exact: bool,
    /// Whether something was read for which the query has no label or range.
    pub unlabelled: bool,
}

impl JudgedQuestion {
    fn names(&self) -> bool {
        self.names_time || !self.fields.is_empty()
    }

    fn is_exact(&self) -> bool {
        self.time_exact && self.field_exact
    }
}

/// Reads the questions of a folder and compares with their queries.
pub fn evaluate_ask(dir: &Path) -> Result<(AskReport, Vec<JudgedQuestion>), FeatureError> {
    let mut pairs: Vec<Pair> = Vec::new();
    for file in FILES.map(|file| dir.join(file)).iter().filter(|file| file.exists()) {
        pairs.extend(folder::lines::<Pair>(file)?);
    }
    if pairs.is_empty() {
        let hint = format!("a folder has {} (JSON lines: question, logql)", FILES.join(" or "));
        return Err(FeatureError::invalid(dir.display().to_string(), "there are no questions", hint));
    }
    let selections: Vec<Selection> = pairs.iter().map(|pair| logql::read(&pair.logql)).collect();
    let everywhere: HashSet<(Field, String)> =
        selections.iter().flat_map(labelled).map(|(field, value)| (field, value.to_lowercase())).collect();
    let judged: Vec<JudgedQuestion> =
        pairs.iter().zip(&selections).map(|(pair, truth)| judge(pair, truth, &everywhere)).collect();
    Ok((report(&judged), judged))
}

fn labelled(selection: &Selection) -> impl Iterator<Item = (Field, &str)> {
    selection.labels.iter().flat_map(|label| {
        let field = match label.name.as_str() {
            "application" => Some(Field::Service),
            "hostname" => Some(Field::Host),
            "log_file_type" => Some(Field::Source),
            "component" => Some(Field::Component),
            "log_level" => Some(Field::Severity),
            _ => None,
        };
        field.into_iter().flat_map(|field| label.values.iter().map(move |value| (field, value.as_str())))
    })
}

fn judge(pair: &Pair, truth: &Selection, everywhere: &HashSet<(Field, String)>) -> JudgedQuestion {
    let question = pair.question.as_str();
    let now = Timestamp::now();
    let read = Question::read(question, Clock::utc(now), &Vocabulary::default());

    let mut fields: BTreeMap<Field, BTreeSet<String>> = BTreeMap::new();
    for (field, value) in labelled(truth) {
        let named = match field {
            Field::Severity => occurs(question, value),
            _ => occurs(&question.to_lowercase(), &value.to_lowercase()),
        };
        if named {
            fields.entry(field).or_default().insert(value.to_lowercase());
        }
    }
    let mut found: BTreeMap<Field, BTreeSet<String>> = BTreeMap::new();
    let mut unlabelled = false;
    for said in &read.conditions {
        let (field, value) = (said.meaning.field, said.meaning.values[0].to_lowercase());
        let is_named = fields.get(&field).is_some_and(|values| values.contains(&value));
        let in_query = labelled(truth).any(|(_, label)| label.eq_ignore_ascii_case(&value));
        let elsewhere = everywhere.contains(&(field, value.clone()));
        let in_line = pair.logql.to_lowercase().contains(&value);
        if !is_named && !in_query && (elsewhere || in_line) {
            unlabelled = true;
        } else {
            found.entry(field).or_default().insert(value);
        }
    }

    let says_time = says_time(question);
    let names_time = says_time && !truth.ranges.is_empty();
    unlabelled |= says_time && truth.ranges.is_empty();
    let time = read.time.as_ref().map(|said| said.meaning);
    let time_exact = match time {
        Some(time) if names_time => {
            let until = time.until.unwrap_or(now);
            let length = time.since.map(|since| until.as_second() - since.as_second());
            truth.ranges.iter().any(|range| Some(*range) == length)
                && truth.is_shifted == time.until.is_some()
        }
        Some(_) => says_time,
        None => !says_time,
    };
    let first_half = Sha256::digest(question.as_bytes()).last().is_some_and(|byte| byte % 2 == 0);
    JudgedQuestion {
        question: question.to_owned(),
        first_half,
        field_exact: fields == found,
        fields,
        ranges: truth.ranges.clone(),
        read,
        names_time,
        time_exact,
        unlabelled,
    }
}

/// Whether a name stands in a text as a whole.
fn occurs(text: &str, name: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let mut after = text[at + name.len()..].chars();
            let (next, second) = (after.next(), after.next());
            let goes_on = next.is_some_and(joins) || (next == Some('.') && second.is_some_and(joins));
            !goes_on && !text[..at].chars().next_back().is_some_and(|c| joins(c) || c == '.')
        })
}

fn says_time(question: &str) -> bool {
    const UNITS: [&str; 12] = [
        "minute", "minutes", "hour", "hours", "day", "days", "week", "weeks", "month", "months", "night",
        "year",
    ];
    let lower = question.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.iter().enumerate().any(|(at, word)| match *word {
        "last" | "past" | "previous" => words.iter().skip(at + 1).take(2).any(|word| UNITS.contains(word)),
        "yesterday" | "today" | "tonight" => true,
        _ => false,
    })
}

fn report(judged: &[JudgedQuestion]) -> AskReport {
    fn share<'a>(of: impl Iterator<Item = &'a JudgedQuestion>, is: impl Fn(&JudgedQuestion) -> bool) -> f64 {
        let (mut count, mut all) = (0usize, 0usize);
        for question in of {
            all += 1;
            count += usize::from(is(question));
        }
        count as f64 / all.max(1) as f64
    }
    let named = || judged.iter().filter(|question| question.names());
    let timed = || judged.iter().filter(|question| question.names_time);
    let fielded = || judged.iter().filter(|question| !question.fields.is_empty());
    AskReport {
        questions: judged.len(),
        named: named().count(),
        exact: share(named(), JudgedQuestion::is_exact),
        time_named: timed().count(),
        time_exact: share(timed(), |question| question.time_exact),
        field_named: fielded().count(),
        field_exact: share(fielded(), |question| question.field_exact),
        unlabelled: judged.iter().filter(|question| question.unlabelled).count(),
        strict: share(named(), |question| question.is_exact() && !question.unlabelled),
        first_half: share(named().filter(|question| question.first_half), JudgedQuestion::is_exact),
        second_half: share(named().filter(|question| !question.first_half), JudgedQuestion::is_exact),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_occurs_as_a_whole() {
        for (text, expect) in [
            ("errors in shop-eu?", true),
            ("errors in shop-eu.", true),
            ("errors in 'shop-eu', please", true),
            ("errors in shop-eu-2", false),
            ("errors in my-shop-eu", false),
            ("errors in shop-eu.local", false),
        ] {
            assert_eq!(occurs(text, "shop-eu"), expect, "{text}");
        }
    }

    #[test]
    fn a_time_is_named_by_its_words_alone() {
        assert!(says_time("errors in the last 6 hours") && says_time("errors over the past day"));
        assert!(
            !says_time("how many per hour")
                && !says_time("the last login")
                && !says_time("longer than 2 minutes")
        );
    }

    #[test]
    fn a_folder_of_pairs_is_judged() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lines = [
            r#"{"question": "How many timeouts in the last 2 hours for application 'shop-eu'?", "logql": "count_over_time({application=\"shop-eu\"} |= \"timeout\" [2h])"}"#,
            r#"{"question": "How many timeouts in the last hour for shop-us?", "logql": "count_over_time({application=\"shop-us\"} |= \"timeout\" [30d])"}"#,
            r#"{"question": "Which orders failed for shop-us in the last day?", "logql": "{component=\"queue\"}"}"#,
        ];
        std::fs::write(dir.path().join(FILES[1]), lines.join("\n")).expect("written");
        let (report, judged) = evaluate_ask(dir.path()).expect("judged");
        assert_eq!((report.questions, report.named, report.unlabelled), (3, 2, 1), "{judged:#?}");
        assert_eq!((report.exact, report.time_exact, report.field_exact), (0.5, 0.5, 1.0));
    }

    /// The product's bar. What is in a corpus stays there: the repository has none of it.
    #[test]
    fn the_public_questions_are_read_exactly() {
        let Some(dir) = crate::testing::corpora("nl2logql") else { return };
        let (report, _) = evaluate_ask(&dir).expect("judged");
        assert!(report.exact >= 0.9 && report.time_exact >= 0.9 && report.field_exact >= 0.9, "{report:?}");
    }
}
