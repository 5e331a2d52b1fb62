//! Cutting operations text into terms.
//!
//! Prose wants stems; operations text wants `kube-system/foo-7d9`, `10.250.7.146:50010`,
//! `blk_-123` and `org.apache.hadoop.dfs` found as they stand *and* by their parts. So every
//! compound becomes its whole, its segments and its words, all at one position; a plain word
//! becomes its stem alone. Queries and documents go through the same code, which is what makes
//! them meet.
//!
//! Stop words are kept in the index and dropped from queries only: a query of nothing but stop
//! words can then still be answered.

use tantivy::tokenizer::{Language, SimpleTokenizer, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer};

/// Longer wholes are payloads (base64, minified code), not names; their parts are still indexed.
const LONGEST_TERM: usize = 200;

/// Cuts a text into terms. Cheap to clone; needs `&mut` because the stemmer keeps a buffer.
#[derive(Clone)]
pub(crate) struct OperationsTokenizer {
    stemmer: TextAnalyzer,
}

impl Default for OperationsTokenizer {
    fn default() -> Self {
        Self {
            stemmer: TextAnalyzer::builder(SimpleTokenizer::default())
                .filter(Stemmer::new(Language::English))
                .build(),
        }
    }
}

/// One term and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) text: String,
    pub(crate) position: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl OperationsTokenizer {
    /// The terms of `text`, in order.
    pub(crate) fn terms(&mut self, text: &str) -> Vec<Term> {
        let mut terms = Vec::new();
        let mut wordings = Vec::new();
        for (position, (from, run)) in runs(text).enumerate() {
            wordings.clear();
            self.wordings(run, &mut wordings);
            let term = |text| Term { text, position, from, to: from + run.len() };
            terms.extend(wordings.drain(..).map(term));
        }
        terms
    }

    /// Everything a run can be found by, the whole first, without repetition.
    fn wordings(&mut self, run: &str, out: &mut Vec<String>) {
        if is_plain_word(run) {
            return out.push(self.name(run));
        }
        let whole = self.name(run);
        add(out, whole);
        for segment in run.split(['/', '\\', ':', '=', '@', '$', '#', '%', '&', '~', '+', '*', '^']) {
            let segment = trimmed(segment);
            // Quads of an address and components of a version mean nothing alone.
            if !segment.is_empty() && segment.chars().all(|c| c.is_ascii_digit() || c == '.') {
                add(out, segment.to_owned());
                continue;
            }
            let name = self.name(segment);
            add(out, name);
            for atom in segment.split(|c: char| !c.is_alphanumeric()) {
                for word in camel_words(atom) {
                    let name = self.name(word);
                    add(out, name);
                }
            }
        }
    }

    /// Letters alone are stemmed, even those of a compound: typed without capitals,
    /// `kubepodcrashlooping` cannot be told from a word, and must still meet the alert's name.
    fn name(&mut self, text: &str) -> String {
        let lower = text.to_lowercase();
        if text.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '’')) {
            self.stem(&lower)
        } else {
            lower
        }
    }

    fn stem(&mut self, lower: &str) -> String {
        let word = lower.split(['\'', '’']).next().unwrap_or(lower);
        let mut stream = self.stemmer.token_stream(word);
        if stream.advance() { stream.token().text.clone() } else { word.to_owned() }
    }
}

fn add(out: &mut Vec<String>, term: String) {
    if !term.is_empty() && term.len() <= LONGEST_TERM && !out.contains(&term) {
        out.push(term);
    }
}

/// Stretches between delimiters, with the byte at which each begins, outer punctuation cut off.
fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(is_delimiter).filter_map(move |run| {
        let run = trimmed(run);
        let from = run.as_ptr().addr() - text.as_ptr().addr();
        (!run.is_empty()).then_some((from, run))
    })
}

fn is_delimiter(c: char) -> bool {
    !(c.is_alphanumeric() || is_joint(c))
}

/// Characters that hold an identifier together when they stand inside it.
fn is_joint(c: char) -> bool {
    matches!(
        c,
        '.' | '-'
            | '_'
            | '/'
            | '\\'
            | ':'
            | '='
            | '@'
            | '$'
            | '#'
            | '%'
            | '&'
            | '~'
            | '+'
            | '*'
            | '^'
            | '\''
            | '’'
    )
}

fn trimmed(run: &str) -> &str {
    run.trim_matches(|c: char| !c.is_alphanumeric())
}

/// Letters only, and no capital after a small letter.
fn is_plain_word(run: &str) -> bool {
    let mut previous_lower = false;
    run.chars().all(|c| {
        let plain = (c.is_alphabetic() || matches!(c, '\'' | '’')) && !(previous_lower && c.is_uppercase());
        previous_lower = c.is_lowercase();
        plain
    })
}

/// `KubePodCrashLooping` is kube, pod, crash, looping; `HTTPServer` is http, server.
fn camel_words(atom: &str) -> impl Iterator<Item = &str> {
    let mut cuts = vec![0];
    let chars: Vec<(usize, char)> = atom.char_indices().collect();
    for i in 1..chars.len() {
        let (before, (at, here)) = (chars[i - 1].1, chars[i]);
        let next_lower = chars.get(i + 1).is_some_and(|(_, c)| c.is_lowercase());
        if here.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && next_lower)) {
            cuts.push(at);
        }
    }
    cuts.push(atom.len());
    (0..cuts.len() - 1).map(move |i| &atom[cuts[i]..cuts[i + 1]])
}

/// The terms of one text as tantivy reads them.
pub(crate) struct Stream {
    terms: std::vec::IntoIter<Term>,
    token: Token,
}

impl Tokenizer for OperationsTokenizer {
    type TokenStream<'a> = Stream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream {
        Stream { terms: self.terms(text).into_iter(), token: Token::default() }
    }
}

impl TokenStream for Stream {
    fn advance(&mut self) -> bool {
        let Some(term) = self.terms.next() else { return false };
        self.token = Token {
            offset_from: term.from,
            offset_to: term.to,
            position: term.position,
            text: term.text,
            position_length: 1,
        };
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let terms = OperationsTokenizer::default().terms(text);
        assert_eq!(terms.iter().map(|term| term.text.as_str()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn plain_words_become_their_stems() {
        check("Pods are crashing repeatedly.", &["pod", "are", "crash", "repeat"]);
        check("the server's queue doesn't drain", &["the", "server", "queue", "doesn", "drain"]);
    }

    #[test]
    fn an_error_code_stays_a_word() {
        check("connect ECONNREFUSED!", &["connect", "econnrefus"]);
        check("SIGKILL (137)", &["sigkil", "137"]);
    }

    #[test]
    fn a_compound_is_found_whole_and_by_its_parts() {
        check(
            "kube-system/foo-7d9",
            &["kube-system/foo-7d9", "kube-system", "kube", "system", "foo-7d9", "foo", "7d9"],
        );
        check(
            "/var/log/nginx/error.log",
            &["var/log/nginx/error.log", "var", "log", "nginx", "error.log", "error"],
        );
        check("org.apache.hadoop.dfs", &["org.apache.hadoop.dfs", "org", "apach", "hadoop", "dfs"]);
        check("snake_case_name", &["snake_case_name", "snake", "case", "name"]);
    }

    #[test]
    fn an_address_is_found_with_and_without_its_port_but_not_by_its_quads() {
        check("10.250.7.146:50010", &["10.250.7.146:50010", "10.250.7.146", "50010"]);
        check("src: /10.250.7.146", &["src", "10.250.7.146"]);
    }

    #[test]
    fn a_block_id_is_found_with_its_sign() {
        check("block blk_-636 terminating", &["block", "blk_-636", "blk", "636", "termin"]);
    }

    #[test]
    fn an_alert_name_is_found_by_its_words() {
        check("KubePodCrashLooping", &["kubepodcrashloop", "kube", "pod", "crash", "loop"]);
        check("etcdHTTPServer", &["etcdhttpserv", "etcd", "http", "server"]);
    }

    #[test]
    fn a_uuid_is_one_term_and_its_groups() {
        check("6f1c-4b2a", &["6f1c-4b2a", "6f1c", "4b2a"]);
    }

    #[test]
    fn parts_stand_at_the_position_of_the_whole() {
        let terms = OperationsTokenizer::default().terms("pod foo-7d9 failed");
        let positions: Vec<_> = terms.iter().map(|term| (term.text.as_str(), term.position)).collect();
        assert_eq!(positions, [("pod", 0), ("foo-7d9", 1), ("foo", 1), ("7d9", 1), ("fail", 2)]);
    }

    #[test]
    fn a_payload_is_no_term() {
        let blob = format!("{}-x", "a1".repeat(200));
        check(&blob, &["x"]);
    }

    proptest! {
        #[test]
        fn any_text_has_terms_within_it(text in ".{0,80}") {
            for term in OperationsTokenizer::default().terms(&text) {
                prop_assert!(text.get(term.from..term.to).is_some());
                prop_assert!(!term.text.is_empty());
            }
        }

        #[test]
        fn an_identifier_typed_as_it_stands_shares_its_whole(name in "[a-zA-Z0-9]{2,8}([-._/:][a-zA-Z0-9]{2,8}){1,4}") {
            let whole = name.to_lowercase();
            let terms = OperationsTokenizer::default().terms(&format!("saw {name}, twice"));
            prop_assert!(terms.iter().any(|term| term.text == whole), "{terms:?}");
        }
    }
}
