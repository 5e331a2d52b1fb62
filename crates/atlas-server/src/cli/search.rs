//! `search`: the API's search on a terminal.

use atlas_config::Settings;
use atlas_domain::Corpus;
use serde_json::{Value, json};

use super::Output;
use super::arguments::SearchArguments;
use super::client::Client;

/// Runs the search.
pub(crate) async fn run(
    arguments: SearchArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let corpora: Vec<&str> = match arguments.corpus.as_slice() {
        [] => Corpus::SEARCHABLE.map(Corpus::as_str).to_vec(),
        chosen => chosen.iter().map(|corpus| corpus.as_str()).collect(),
    };
    let request =
        json!({"query": arguments.text, "corpora": corpora, "limit": arguments.limit, "refresh": true});
    let post = async |client: &Client| client.post("/api/search", &arguments.tenant, &request).await;
    let answer = Client::once(settings, post).await?;
    if arguments.json {
        return output.json(&answer);
    }
    for line in lines(&answer) {
        output.line(&line)?;
    }
    Ok(())
}

fn lines(answer: &Value) -> Vec<String> {
    let none = Vec::new();
    let hits = answer["hits"].as_array().unwrap_or(&none);
    let mut lines = Vec::new();
    if answer["degraded"].as_array().is_some_and(|legs| !legs.is_empty()) {
        lines.push("(keywords only: the embedding engine did not take part)".to_owned());
    }
    for note in answer["notes"].as_array().unwrap_or(&none) {
        let text = |name: &str| note[name].as_str().unwrap_or_default();
        lines.push(format!("({}: {})", text("part"), text("reason")));
    }
    if hits.is_empty() {
        lines.push("nothing found".to_owned());
    } else if answer["matches"] == "none" {
        lines.push("nothing matches; this comes nearest:".to_owned());
    }
    for (rank, hit) in hits.iter().enumerate() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let found_by: Vec<String> = hit["legs"]
            .as_array()
            .unwrap_or(&none)
            .iter()
            .map(|leg| format!("{} #{}", text(&leg["leg"]), leg["rank"]))
            .collect();
        lines.push(format!(
            "{:>2}. {} [{}] {}",
            rank + 1,
            text(&hit["id"]),
            text(&hit["corpus"]),
            found_by.join(", ")
        ));
        let heading = text(&hit["passage"]["heading"]);
        if !heading.is_empty() {
            lines.push(format!("    {heading}"));
        }
        lines.push(format!("    {}", excerpt(&text(&hit["passage"]["text"]))));
    }
    lines
}

/// The beginning of a passage on one line.
pub(super) fn excerpt(text: &str) -> String {
    const EXCERPT_CHARS: usize = 160;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_shows_who_found_it_and_where_in_the_document() {
        let answer = json!({"degraded": [], "hits": [{
            "id": "a.md", "corpus": "runbooks", "legs": [{"leg": "lexical", "rank": 1}, {"leg": "vector", "rank": 2}],
            "passage": {"heading": "A > Meaning", "text": "some\n  text"}
        }]});
        assert_eq!(
            lines(&answer),
            [" 1. a.md [runbooks] lexical #1, vector #2", "    A > Meaning", "    some text"]
        );
    }

    #[test]
    fn keyword_only_mode_is_visible() {
        let lines = lines(&json!({"degraded": ["vector"], "hits": []}));
        assert!(lines[0].contains("keywords only") && lines[1] == "nothing found");
    }

    #[test]
    fn what_was_ignored_and_that_nothing_matches_is_said_first() {
        let answer = json!({
            "notes": [{"part": "since:noon", "reason": "it is no time"}],
            "matches": "none",
            "hits": [{"id": "a.md", "corpus": "runbooks", "legs": []}],
        });
        let lines = lines(&answer);
        assert_eq!(lines[..2], ["(since:noon: it is no time)", "nothing matches; this comes nearest:"]);
    }

    #[test]
    fn a_long_passage_is_cut_between_characters() {
        assert_eq!(excerpt(&"ä".repeat(200)).chars().count(), 161);
    }
}
