//! `import`: from files to the API.

use anyhow::{Context, bail, ensure};
use atlas_config::Settings;
use serde_json::{Map, Value, json};

use super::arguments::{ImportArguments, ImportKind};
use super::client::{Client, Refused};
use super::sources::{self, SourceFile};
use super::{Output, progress};

/// One thing to import and where it stands: a file, or a file and a line.
struct Item {
    place: String,
    value: Value,
}

/// One request: where it goes, what is in it, and where its items stand.
struct Slice {
    path: &'static str,
    body: Value,
    places: Vec<String>,
}

/// Runs the import.
pub(crate) async fn run(
    arguments: ImportArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let files = sources::read(arguments.kind, &arguments.path)?;
    let slices = plan(&arguments, &files)?;
    let items: usize = slices.iter().map(|slice| slice.places.len()).sum();

    let send = async |client: &Client| send(client, &arguments, &slices, items).await;
    let totals = Client::once(settings, send).await?;

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
        let checked = client.post(&format!("{}?check=true", slice.path), tenant, &slice.body).await;
        checked.map_err(|error| at_its_place(error, &slice.places))?;
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
        bar.inc(slice.places.len() as u64);
    }
    bar.finish_and_clear();
    Ok(totals)
}

/// The API speaks of `items[3]`; the user's files have names and lines.
fn at_its_place(error: anyhow::Error, places: &[String]) -> anyhow::Error {
    let field = error.downcast_ref::<Refused>().and_then(|refused| refused.field.as_deref());
    let position = field.and_then(|field| {
        let digits =
            field.split_once(|c: char| c.is_ascii_digit()).map(|(before, _)| &field[before.len()..])?;
        let digits = digits.split(|c: char| !c.is_ascii_digit()).next()?;
        // Log lines are counted from 1, as editors do; items of a list from 0, as JSON paths do.
        digits.parse::<usize>().ok()?.checked_sub(usize::from(field.starts_with("line")))
    });
    match position.and_then(|position| places.get(position)) {
        Some(place) => error.context(format!("{place}; nothing was imported")),
        None => error.context("nothing was imported"),
    }
}

fn plan(arguments: &ImportArguments, files: &[SourceFile]) -> anyhow::Result<Vec<Slice>> {
    let mut items = Vec::new();
    for file in files {
        items.extend(match arguments.kind {
            ImportKind::Runbooks => {
                vec![Item {
                    place: file.name.clone(),
                    value: json!({"id": file.name, "markdown": file.text}),
                }]
            }
            ImportKind::Incidents => json_lines(file)?,
            ImportKind::Alerts => alerts_of(file)?,
            ImportKind::Logs => log_lines(file, arguments.service.as_deref())?,
        });
    }
    Ok(match arguments.kind {
        ImportKind::Runbooks => slices("/api/import/runbooks", items, 25, |items| json!({"items": items})),
        ImportKind::Incidents => slices("/api/import/incidents", items, 100, |items| json!({"items": items})),
        ImportKind::Alerts => slices(
            "/api/alerts/webhook",
            items,
            200,
            |alerts| json!({"version": "4", "status": "firing", "alerts": alerts}),
        ),
        ImportKind::Logs => slices("/api/logs", items, 2_000, Value::Array),
    })
}

/// Cuts items into requests of at most `most` items and about 8 MiB.
fn slices(
    path: &'static str,
    items: Vec<Item>,
    most: usize,
    body: impl Fn(Vec<Value>) -> Value,
) -> Vec<Slice> {
    const SLICE_BYTES: usize = 8 << 20;
    let mut cut: Vec<(Vec<Value>, Vec<String>)> = Vec::new();
    let mut bytes = 0;
    for Item { place, value } in items {
        let size = value.to_string().len();
        bytes += size;
        match cut.last_mut() {
            Some((values, places)) if values.len() < most && bytes <= SLICE_BYTES => {
                values.push(value);
                places.push(place);
            }
            _ => {
                cut.push((vec![value], vec![place]));
                bytes = size;
            }
        }
    }
    cut.into_iter().map(|(values, places)| Slice { path, places, body: body(values) }).collect()
}

fn json_lines(file: &SourceFile) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();
    for (number, line) in file.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("{}, line {}", file.name, number + 1);
        let value =
            serde_json::from_str(line).with_context(|| format!("{place}: not JSON; nothing was imported"))?;
        items.push(Item { place, value });
    }
    ensure!(!items.is_empty(), "{} has no lines", file.name);
    Ok(items)
}

fn log_lines(file: &SourceFile, service: Option<&str>) -> anyhow::Result<Vec<Item>> {
    let structured = [".jsonl", ".ndjson"].iter().any(|ending| file.name.ends_with(ending));
    let lines = if structured {
        json_lines(file)?
    } else {
        let lines = file.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(number, line)| Item {
                place: format!("{}, line {}", file.name, number + 1),
                value: json!({"message": line}),
            })
            .collect()
    };
    let with_origin = |line: Item| Item { value: with_origin(line.value, file, service), ..line };
    Ok(lines.into_iter().map(with_origin).collect())
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

fn alerts_of(file: &SourceFile) -> anyhow::Result<Vec<Item>> {
    if !file.name.ends_with(".json") {
        return json_lines(file);
    }
    let body: Value = serde_json::from_str(&file.text)
        .with_context(|| format!("{}: not JSON; nothing was imported", file.name))?;
    let alerts = match body {
        Value::Array(alerts) => alerts,
        Value::Object(mut webhook) => match webhook.remove("alerts") {
            Some(Value::Array(alerts)) => alerts,
            _ => bail!("{}: an Alertmanager webhook has a list `alerts`; nothing was imported", file.name),
        },
        _ => bail!(
            "{}: expected an Alertmanager webhook or a list of its alerts; nothing was imported",
            file.name
        ),
    };
    let place = |position: usize| format!("{}, alert {}", file.name, position + 1);
    Ok(alerts.into_iter().enumerate().map(|(at, value)| Item { place: place(at), value }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.into(), text: text.into() }
    }

    fn items(values: impl IntoIterator<Item = Value>) -> Vec<Item> {
        values
            .into_iter()
            .enumerate()
            .map(|(at, value)| Item { place: format!("place {at}"), value })
            .collect()
    }

    #[test]
    fn items_are_cut_into_requests_and_none_is_lost() {
        let cut = slices("/x", items((0..55).map(|n| json!(n))), 25, Value::Array);
        assert_eq!(cut.iter().map(|slice| slice.places.len()).collect::<Vec<_>>(), [25, 25, 5]);
        assert_eq!(cut[2].body, json!([50, 51, 52, 53, 54]));
        assert_eq!(cut[2].places[4], "place 54");
    }

    #[test]
    fn a_large_item_travels_alone() {
        let cut = slices("/x", items([json!("x".repeat(9 << 20)), json!("y"), json!("z")]), 25, Value::Array);
        assert_eq!(cut.iter().map(|slice| slice.places.len()).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_refused_field_is_shown_where_it_stands_in_the_users_file() {
        let places = ["a.jsonl, line 1".to_owned(), "a.jsonl, line 3".to_owned()];
        let refused =
            |field: &str| Refused { detail: "is wrong".into(), hint: None, field: Some(field.into()) };
        for (field, place) in [("items[1].title", "a.jsonl, line 3"), ("line 1", "a.jsonl, line 1")] {
            let error = format!("{:#}", at_its_place(refused(field).into(), &places));
            assert_eq!(error, format!("{place}; nothing was imported: is wrong"));
        }
        let error = format!("{:#}", at_its_place(refused("version").into(), &places));
        assert_eq!(error, "nothing was imported: is wrong");
    }

    #[test]
    fn a_broken_line_is_named_with_its_file() {
        let error = json_lines(&file("a.jsonl", "{}\n{")).map(|_| ()).expect_err("refused").to_string();
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
            let alerts = alerts_of(&file("a.json", &text)).expect("read");
            assert_eq!(alerts.iter().map(|item| &item.value).collect::<Vec<_>>(), [&alert]);
        }
    }
}
