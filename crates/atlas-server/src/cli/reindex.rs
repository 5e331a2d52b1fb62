//! `reindex`: begun through the API, then watched until nothing is left to do.

use std::time::Duration;

use anyhow::bail;
use atlas_config::Settings;
use serde_json::{Value, json};

use super::arguments::ReindexArguments;
use super::client::Client;
use super::{Output, progress};

/// How often a person sees the bar move.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs the command.
pub(crate) async fn run(
    arguments: ReindexArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let state = Client::once(settings, async |client| watch(client, &arguments).await).await?;
    if arguments.json {
        return output.json(&state);
    }
    let vectors = &state["vectors"];
    output.line(&format!(
        "indexes of {} cover change {}; {} of {} passages have vectors",
        arguments.tenant,
        state["seq"],
        vectors["made"].as_u64().unwrap_or(0),
        vectors["chunks"].as_u64().unwrap_or(0)
    ))
}

async fn watch(client: &Client, arguments: &ReindexArguments) -> anyhow::Result<Value> {
    let mut state = client.post("/api/reindex", &arguments.tenant, &json!({})).await?;
    let bar = progress::bar(0, "indexing");
    while state["complete"] != json!(true) {
        let (done, all) = steps(&state);
        bar.set_length(all);
        bar.set_position(done);
        if let Some(problem) = state["vectors"]["problem"].as_str() {
            bail!("the embedding engine does not work ({problem}); what is missing is made when it does");
        }
        tokio::time::sleep(LOOK_EVERY).await;
        state = client.get("/api/reindex", &arguments.tenant).await?;
    }
    bar.finish_and_clear();
    Ok(state)
}

/// Changes that the slowest leg of each corpus covers and vectors that are made, of all.
fn steps(state: &Value) -> (u64, u64) {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (seq, vectors) = (number(&state["seq"]), &state["vectors"]);
    let (mut done, mut all) = (number(&vectors["made"]), number(&vectors["chunks"]));
    for corpus in state["corpora"].as_array().into_iter().flatten() {
        let legs = ["lexical", "vector"].iter().filter_map(|leg| corpus[*leg].as_u64());
        done += legs.min().unwrap_or(seq).min(seq);
        all += seq;
    }
    (done, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_leg_counts() {
        let state = json!({"seq": 10, "corpora": [
            {"corpus": "alerts", "lexical": 10, "vector": 4}, {"corpus": "logs", "lexical": 12, "vector": null}
        ], "vectors": {"made": 3, "chunks": 5}});
        assert_eq!(steps(&state), (4 + 10 + 3, 25));
    }
}
