//! `import`: from files to the API.

use anyhow::{Context, bail, ensure};
use atlas_config::Settings;
use serde_json::{Map, Value, json};

use super::arguments::{ImportArguments, ImportKind};
use super::client::Client;
use super::sources::{self, SourceFile};
use super::{Output, progress};

/// One request: where it goes, what is in it, and how many items that is.
struct Slice {
    path: &'static str,
    body: Value,
    items: usize,
}

/// Runs the import.
pub(crate) async fn run(
    arguments: ImportArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let files = sources::read(arguments.kind, &arguments.path)?;
    let slices = plan(&arguments, &files)?;
    let items: usize = slices.iter().map(|slice| slice.items).sum();

    let client = Client::open(settings).await?;
    let outcome = send(&client, &arguments, &slices, items).await;
    client.close().await;
    let totals = outcome?;

    if arguments.json {
        output.json(&totals)
    } else {
        let counts: Vec<String> = totals.iter().map(|(name, count)| format!("{count} {name}")).collect();
        output.line(&format!("imported into {}: {}", arguments.tenant, counts.join(", ")))
    }
}

async fn send(
    client: &Client,
    arguments: &ImportArguments,
    slices: &[Slice],
    items: usize,
) -> anyhow::Result<Map<String, Value>> {
    let tenant = &arguments.tenant;
    // Every slice is checked before the tenant is made and the first one is written.
    for slice in slices {
        client.post(&format!("{}?check=true", slice.path), tenant, &slice.body).await?;
    }
    client
        .post("/api/tenants", tenant, &json!({"id": tenant}))
        .await
        .context("the tenant cannot be created")?;
    let bar = progress::bar(items, "importing");
    let mut totals = Map::new();
    for slice in slices {
        let answer = client.post(slice.path, tenant, &slice.body).await?;
        for (name, count) in answer.as_object().into_iter().flatten() {
            if let Some(count) = count.as_u64() {
                let total = totals.entry(name.clone()).or_insert(json!(0));
                *total = json!(total.as_u64().unwrap_or(0) + count);
            }
        }
        bar.inc(slice.items as u64);
    }
    bar.finish_and_clear();
    Ok(totals)
}

fn plan(arguments: &ImportArguments, files: &[SourceFile]) -> anyhow::Result<Vec<Slice>> {
    match arguments.kind {
        ImportKind::Runbooks => {
            let items = files.iter().map(|file| json!({"id": file.name, "markdown": file.text})).collect();
            Ok(slices("/api/import/runbooks", items, 25, |items| json!({"items": items})))
        }
        ImportKind::Incidents => {
            let mut items = Vec::new();
            for file in files {
                items.extend(json_lines(file)?);
            }
            Ok(slices("/api/import/incidents", items, 100, |items| json!({"items": items})))
        }
        ImportKind::Alerts => {
            let mut alerts = Vec::new();
            for file in files {
                alerts.extend(alerts_of(file)?);
            }
            let webhook = |alerts: Vec<Value>| json!({"version": "4", "status": "firing", "alerts": alerts});
            Ok(slices("/api/alerts/webhook", alerts, 200, webhook))
        }
        ImportKind::Logs => {
            let mut lines = Vec::new();
            for file in files {
                let structured = [".jsonl", ".ndjson"].iter().any(|ending| file.name.ends_with(ending));
                let own = if structured { json_lines(file)? } else { plain_lines(file) };
                lines.extend(
                    own.into_iter().map(|line| with_origin(line, file, arguments.service.as_deref())),
                );
            }
            Ok(slices("/api/logs", lines, 2_000, Value::Array))
        }
    }
}

/// Cuts items into requests of at most `most` items and about 8 MiB.
fn slices(
    path: &'static str,
    items: Vec<Value>,
    most: usize,
    body: impl Fn(Vec<Value>) -> Value,
) -> Vec<Slice> {
    const SLICE_BYTES: usize = 8 << 20;
    let mut cut = Vec::new();
    let mut current = Vec::new();
    let mut bytes = 0;
    for item in items {
        let size = item.to_string().len();
        if !current.is_empty() && (current.len() == most || bytes + size > SLICE_BYTES) {
            cut.push(std::mem::take(&mut current));
            bytes = 0;
        }
        bytes += size;
        current.push(item);
    }
    if !current.is_empty() {
        cut.push(current);
    }
    cut.into_iter().map(|items| Slice { path, items: items.len(), body: body(items) }).collect()
}

fn json_lines(file: &SourceFile) -> anyhow::Result<Vec<Value>> {
    let mut items = Vec::new();
    for (number, line) in file.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let item = serde_json::from_str(line)
            .with_context(|| format!("{}, line {}: not JSON; nothing was imported", file.name, number + 1))?;
        items.push(item);
    }
    ensure!(!items.is_empty(), "{} has no lines", file.name);
    Ok(items)
}

fn plain_lines(file: &SourceFile) -> Vec<Value> {
    file.text.lines().filter(|line| !line.trim().is_empty()).map(|line| json!({"message": line})).collect()
}

/// Says which file a line came from, and which service, unless the line says so itself.
fn with_origin(line: Value, file: &SourceFile, service: Option<&str>) -> Value {
    let mut line = match line {
        Value::Object(line) => line,
        // Left for the server to refuse, with its number.
        Value::String(message) => Map::from_iter([("message".to_owned(), Value::String(message))]),
        other => return other,
    };
    line.entry("source").or_insert_with(|| json!(file.name));
    if let Some(service) = service {
        line.entry("service").or_insert_with(|| json!(service));
    }
    Value::Object(line)
}

fn alerts_of(file: &SourceFile) -> anyhow::Result<Vec<Value>> {
    if !file.name.ends_with(".json") {
        return json_lines(file);
    }
    let body: Value = serde_json::from_str(&file.text)
        .with_context(|| format!("{}: not JSON; nothing was imported", file.name))?;
    match body {
        Value::Array(alerts) => Ok(alerts),
        Value::Object(mut webhook) => match webhook.remove("alerts") {
            Some(Value::Array(alerts)) => Ok(alerts),
            _ => bail!("{}: an Alertmanager webhook has a list `alerts`; nothing was imported", file.name),
        },
        _ => bail!(
            "{}: expected an Alertmanager webhook or a list of its alerts; nothing was imported",
            file.name
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.into(), text: text.into() }
    }

    #[test]
    fn items_are_cut_into_requests_and_none_is_lost() {
        let items: Vec<Value> = (0..55).map(|n| json!(n)).collect();
        let cut = slices("/x", items, 25, Value::Array);
        assert_eq!(cut.iter().map(|slice| slice.items).collect::<Vec<_>>(), [25, 25, 5]);
    }

    #[test]
    fn a_large_item_travels_alone() {
        let items = vec![json!("x".repeat(9 << 20)), json!("y")];
        assert_eq!(slices("/x", items, 25, Value::Array).len(), 2);
    }

    #[test]
    fn a_broken_line_is_named_with_its_file() {
        let error = json_lines(&file("a.jsonl", "{}\n{")).expect_err("refused").to_string();
        assert_eq!(error, "a.jsonl, line 2: not JSON; nothing was imported");
    }

    #[test]
    fn what_a_log_line_says_of_itself_wins() {
        let line =
            with_origin(json!({"message": "m", "service": "own"}), &file("app.log", ""), Some("given"));
        assert_eq!(line, json!({"message": "m", "service": "own", "source": "app.log"}));
    }

    #[test]
    fn a_webhook_body_and_a_list_are_the_same_alerts() {
        let alert = json!({"labels": {"alertname": "A"}});
        for text in [json!([alert]).to_string(), json!({"version": "4", "alerts": [alert]}).to_string()] {
            assert_eq!(alerts_of(&file("a.json", &text)).expect("read"), std::slice::from_ref(&alert));
        }
    }
}
