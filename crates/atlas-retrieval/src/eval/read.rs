//! Reading evaluation files. Every complaint names the file and the line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{EvalDocument, EvalError, EvalSet};

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

#[derive(Deserialize)]
pub(super) struct Pair {
    pub(super) s1: String,
    pub(super) s2: String,
    pub(super) score: f64,
}

pub(super) fn set(dir: &Path, queries_path: &Path) -> Result<EvalSet, EvalError> {
    let corpus_file = dir.join("corpus.jsonl");
    let mut seen = HashSet::new();
    let mut documents = Vec::new();
    for (number, line) in json_lines::<Line>(&corpus_file)? {
        let document = EvalDocument::new(number, &line.id, line.title, line.text);
        documents.push(document.map_err(|error| wrong(&corpus_file, number, error.to_string()))?);
        if !seen.insert(line.id.clone()) {
            return Err(wrong(&corpus_file, number, format!("the id {} was there before", line.id)));
        }
    }
    if documents.is_empty() {
        return Err(EvalError::Empty { place: corpus_file, reason: "there are no documents" });
    }
    let grades = grades(&dir.join("qrels").join("test.tsv"))?;
    let queries: Vec<(String, String)> = json_lines::<Line>(queries_path)?
        .into_iter()
        .map(|(_, line)| (line.id, line.text))
        .filter(|(id, _)| grades.contains_key(id))
        .collect();
    if queries.is_empty() {
        return Err(EvalError::Empty {
            place: queries_path.to_owned(),
            reason: "no query has a grade in qrels/test.tsv",
        });
    }
    Ok(EvalSet { documents, queries, grades })
}

pub(super) fn pairs(file: &Path) -> Result<Vec<Pair>, EvalError> {
    let pairs: Vec<Pair> = json_lines(file)?.into_iter().map(|(_, pair)| pair).collect();
    if pairs.len() < 2 {
        return Err(EvalError::Empty {
            place: file.to_owned(),
            reason: "a correlation needs two pairs or more",
        });
    }
    Ok(pairs)
}

fn grades(file: &Path) -> Result<HashMap<String, BTreeMap<String, u32>>, EvalError> {
    let mut grades: HashMap<String, BTreeMap<String, u32>> = HashMap::new();
    for (number, line) in lines(file)? {
        let mut columns = line.split('\t');
        let (Some(query), Some(document), Some(grade), None) =
            (columns.next(), columns.next(), columns.next(), columns.next())
        else {
            return Err(wrong(file, number, "there are not three columns separated by tabs".into()));
        };
        let grade = grade.trim();
        if number == 1 && grade.parse::<u32>().is_err() {
            continue; // the header
        }
        let grade = grade
            .parse()
            .map_err(|_| wrong(file, number, format!("the grade {grade:?} is no whole number")))?;
        grades.entry(query.to_owned()).or_default().insert(document.to_owned(), grade);
    }
    // A query with nothing but zeros asks nothing.
    grades.retain(|_, documents| documents.values().any(|grade| *grade > 0));
    Ok(grades)
}

fn json_lines<T: DeserializeOwned>(file: &Path) -> Result<Vec<(usize, T)>, EvalError> {
    let parse = |(number, line): (usize, String)| match serde_json::from_str(&line) {
        Ok(value) => Ok((number, value)),
        Err(error) => Err(wrong(file, number, error.to_string())),
    };
    lines(file)?.into_iter().map(parse).collect()
}

/// The lines that are not blank, with their numbers from 1.
fn lines(file: &Path) -> Result<Vec<(usize, String)>, EvalError> {
    let text =
        fs::read_to_string(file).map_err(|source| EvalError::Read { file: file.to_owned(), source })?;
    let numbered = (1..).zip(text.lines().map(str::to_owned));
    Ok(numbered.filter(|(_, line)| !line.trim().is_empty()).collect())
}

fn wrong(file: &Path, line: usize, reason: String) -> EvalError {
    EvalError::Line { file: file.to_owned(), line, reason }
}
