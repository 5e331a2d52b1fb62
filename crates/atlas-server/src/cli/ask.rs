//! `ask`: the API's questions on a terminal.

use atlas_config::Settings;
use serde_json::{Value, json};

use super::Output;
use super::arguments::AskArguments;
use super::client::Client;
use super::search::excerpt;

/// Asks the question.
pub(crate) async fn run(
    arguments: AskArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let corpora: Vec<&str> = arguments.corpus.iter().map(|corpus| corpus.as_str()).collect();
    let mut request = json!({
        "question": arguments.question,
        "corpora": corpora,
        "limit": arguments.limit,
        "model": !arguments.no_model,
    });
    if let Some(offset) = arguments.utc_offset {
        request["utc_offset"] = offset.into();
    }
    let post = async |client: &Client| client.post("/api/ask", &arguments.tenant, &request).await;
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
    let list = |value: &Value| value.as_array().unwrap_or(&none).clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    let filter = answer["filter"].as_object().filter(|filter| !filter.is_empty());
    if let Some(filter) = filter {
        let conditions: Vec<String> = filter.iter().map(|(name, value)| format!("{name} {value}")).collect();
        lines.push(format!("(only: {})", conditions.join(", ")));
    }
    for note in list(&answer["understood"]["notes"]) {
        lines.push(format!("({})", text(&note)));
    }
    if list(&answer["degraded"]).iter().any(|leg| leg == "vector") {
        lines.push("(keywords only: the embedding engine did not take part)".to_owned());
    }
    if answer["model"]["state"] == "unavailable" {
        lines.push(format!("(without a model: {})", text(&answer["model"]["reason"])));
    }
    lines.push(text(&answer["answer"]));
    for sentence in list(&answer["sentences"]) {
        for citation in list(&sentence["citations"]) {
            lines.push(format!("    {}: \"{}\"", text(&citation["evidence_id"]), text(&citation["quote"])));
        }
    }
    for passage in list(&answer["passages"]) {
        let [id, corpus, title] = ["evidence_id", "corpus", "title"].map(|name| text(&passage[name]));
        let at = text(&passage["facets"]["at"]);
        lines.push(format!("{id:>4} [{corpus}] {at} {title}").trim_end().to_owned());
        lines.push(format!("     {}", excerpt(&text(&passage["text"]))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_come_first_then_the_answer_then_what_it_rests_on() {
        let answer = json!({
            "understood": {"notes": ["\"since the deploy\" is not used: no deploy is known"]},
            "filter": {"service": ["checkout"]},
            "degraded": ["vector"],
            "model": {"state": "unavailable", "code": "x", "reason": "no AI provider is configured"},
            "answer": "2 passages",
            "sentences": [{"text": "It is full.", "citations": [{"evidence_id": "P1", "quote": "no space left"}]}],
            "passages": [{"evidence_id": "P1", "corpus": "logs", "title": "", "text": "no space\n left", "facets": {"at": "2026-01-01T00:00:00Z"}}],
        });
        let expect = [
            "(only: service [\"checkout\"])",
            "(\"since the deploy\" is not used: no deploy is known)",
            "(keywords only: the embedding engine did not take part)",
            "(without a model: no AI provider is configured)",
            "2 passages",
            "    P1: \"no space left\"",
            "  P1 [logs] 2026-01-01T00:00:00Z",
            "     no space left",
        ];
        assert_eq!(lines(&answer), expect);
    }
}
