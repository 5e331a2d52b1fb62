//! Reading words: free text in, terms out, so there are no syntax errors. Phrases, exclusions and
//! fields were taken out before, by whoever knows that a person typed them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::tokens::OperationsTokenizer;

/// Words of questions that say nothing about the answer, stemmed as the tokenizer stems them.
const STOP_WORDS: &[&str] = &[
    "a", "about", "an", "and", "ani", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did",
    "do", "doe", "doesn", "don", "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is",
    "isn", "it", "me", "my", "no", "not", "of", "on", "or", "our", "should", "so", "such", "than", "that",
    "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "was", "we", "were",
    "what", "when", "where", "whi", "which", "who", "will", "with", "would", "you", "your",
];

/// The terms of a query with how often each occurs, most distinct first come first.
pub(super) fn query_terms(tokenizer: &mut OperationsTokenizer, text: &str) -> Vec<(String, u32)> {
    let text = without_templates(text);
    let mut counts: HashMap<String, u32> = HashMap::new();
    let mut order = Vec::new();
    for term in tokenizer.terms(&text) {
        let count = counts.entry(term.text).or_insert_with_key(|text| {
            order.push(text.clone());
            0
        });
        *count += 1;
    }
    let counted: Vec<(String, u32)> = order.into_iter().map(|text| (text.clone(), counts[&text])).collect();
    let meaningful: Vec<_> = counted
        .iter()
        .filter(|(text, _)| STOP_WORDS.binary_search(&text.as_str()).is_err())
        .cloned()
        .collect();
    if meaningful.is_empty() { counted } else { meaningful }
}

/// The words of a query that a record has, as the index cuts them, in the order of the query.
pub fn matched_words(query: &str, title: &str, text: &str) -> Vec<String> {
    let mut tokenizer = OperationsTokenizer::default();
    let of_record: HashSet<String> =
        [title, text].into_iter().flat_map(|part| tokenizer.terms(part)).map(|term| term.text).collect();
    let words = query_terms(&mut tokenizer, query).into_iter().map(|(word, _)| word);
    words.filter(|word| of_record.contains(word)).collect()
}

/// Alert annotations carry `{{ $labels.pod }}`: the names inside belong to the template language,
/// not to what the alert says. An opening without an end is left as it is.
pub(super) fn without_templates(text: &str) -> Cow<'_, str> {
    if !text.contains("{{") {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((_, after)) = after.split_once("}}") else { break };
        kept.push_str(before);
        kept.push(' ');
        rest = after;
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// The spellings under which a query may name a record exactly, lower case: the whole query, and
/// each of its tokens that looks like a name.
pub(super) fn exact_candidates(text: &str) -> Vec<String> {
    let text = without_templates(text);
    let punctuation = |c: char| {
        matches!(
            c,
            '.' | ','
                | ';'
                | ':'
                | '!'
                | '?'
                | '"'
                | '\''
                | '`'
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '<'
                | '>'
        )
    };
    let mut candidates = vec![text.trim().to_lowercase()];
    // By white space first: a link holds commas and brackets of its own.
    let by_space = text.split_whitespace();
    let by_mark = text.split(|c: char| c.is_whitespace() || punctuation(c) && !matches!(c, '.' | ':'));
    for token in by_space.chain(by_mark) {
        let token = token.trim_matches(punctuation);
        let candidate = token.to_lowercase();
        if looks_like_a_name(token) && !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    candidates.retain(|candidate| !candidate.is_empty());
    candidates
}

/// Six characters or more, and something that prose has not: `high` must not be an exact hit.
fn looks_like_a_name(token: &str) -> bool {
    let marked = |c: char| c.is_numeric() || matches!(c, '-' | '_' | '.' | '/');
    token.chars().count() >= 6 && (token.chars().any(marked) || token.chars().skip(1).any(char::is_uppercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let terms = query_terms(&mut OperationsTokenizer::default(), text);
        assert_eq!(terms.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn the_stop_list_is_sorted_and_stemmed() {
        assert!(STOP_WORDS.is_sorted());
        for word in STOP_WORDS {
            assert_eq!(OperationsTokenizer::default().terms(word)[0].text.as_str(), *word);
        }
    }

    #[test]
    fn question_words_are_dropped_unless_nothing_else_is_asked() {
        check("What is the status of the block?", &["status", "block"]);
        check("what is it", &["what", "is", "it"]);
        check("", &[]);
    }

    #[test]
    fn template_placeholders_are_no_words() {
        check("Pod {{ $labels.namespace }}/{{$labels.pod}} fails {{ $value | humanize }}.", &["pod", "fail"]);
        check("open {{ brace", &["open", "brace"]);
    }

    #[test]
    fn a_repeated_word_counts() {
        assert_eq!(
            query_terms(&mut OperationsTokenizer::default(), "disk full disk"),
            [("disk".into(), 2), ("full".into(), 1)]
        );
    }

    #[test]
    fn names_inside_a_query_are_exact_candidates_and_words_are_not() {
        assert_eq!(
            exact_candidates("why is KubePodCrashLooping critical?"),
            ["why is kubepodcrashlooping critical?", "kubepodcrashlooping"]
        );
        assert_eq!(
            exact_candidates("see https://runbooks.example/a,b."),
            [
                "see https://runbooks.example/a,b.",
                "https://runbooks.example/a,b",
                "https://runbooks.example/a"
            ]
        );
        assert_eq!(exact_candidates("(incident-42)"), ["(incident-42)", "incident-42"]);
        assert_eq!(exact_candidates("  "), Vec::<String>::new());
    }
}
