//! `cargo xtask bench plot`: measured rates as a table for the README and as a picture.
//!
//! Both are made from one committed file, so that a number in a document can be followed to the
//! command and the day that gave it. The picture is plain SVG on a transparent ground, in colours
//! that can be read on white and on black.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

const DATA: &str = "benches/results/embedding.json";
const PICTURE: &str = "benches/results/embedding.svg";

/// Rows whose engine begins so are this project's.
const OURS: &str = "AtlasAI";

/// A rate that somebody measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    engine: String,
    version: String,
    precision: String,
    workload: String,
    tokens_s: f64,
    /// The smallest cosine to sentence-transformers in fp32 over the texts of the workload.
    cosine_min: f64,
    date: String,
    command: String,
}

impl Row {
    fn label(&self) -> String {
        format!("{} {} {}", self.engine, self.version, self.precision)
    }

    fn is_ours(&self) -> bool {
        self.engine.starts_with(OURS)
    }
}

/// Writes the picture and prints the table.
pub(crate) fn plot(root: &Path) -> anyhow::Result<()> {
    let rows = read(root)?;
    let path = root.join(PICTURE);
    fs::write(&path, picture(&rows)).with_context(|| format!("{} cannot be written", path.display()))?;
    println!("{}", table(&rows));
    Ok(())
}

fn read(root: &Path) -> anyhow::Result<Vec<Row>> {
    let text = fs::read_to_string(root.join(DATA)).with_context(|| format!("{DATA} cannot be read"))?;
    parse(&text).with_context(|| format!("{DATA} cannot be used"))
}

fn parse(text: &str) -> anyhow::Result<Vec<Row>> {
    let rows: Vec<Row> = serde_json::from_str(text)?;
    ensure!(!rows.is_empty(), "it has no rows");
    let mut seen = BTreeSet::new();
    for row in &rows {
        let name = format!("{} on {}", row.label(), row.workload);
        ensure!(row.tokens_s.is_finite() && row.tokens_s > 0.0, "{name}: tokens_s is no rate");
        ensure!((-1.0..=1.000_001).contains(&row.cosine_min), "{name}: cosine_min is no cosine");
        ensure!(seen.insert(name.clone()), "{name} is there twice");
    }
    Ok(rows)
}

/// In the order in which they come first, and without repetition.
fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(name.clone())).collect()
}

fn workloads(rows: &[Row]) -> Vec<String> {
    let mut names = distinct(rows.iter().map(|row| row.workload.clone()));
    names.sort();
    names
}

/// Markdown: an engine a line, a workload a column, and below it how to get the numbers again.
fn table(rows: &[Row]) -> String {
    let workloads = workloads(rows);
    let mut text = format!("| engine | {} | cosine min | date |\n", workloads.join(" | "));
    text += &format!("|---|{}---|---|\n", "---:|".repeat(workloads.len()));
    let mut engines = distinct(rows.iter().map(Row::label));
    // The fastest first, by the sum over the workloads.
    let total = |label: &String| -> f64 {
        rows.iter().filter(|row| row.label() == *label).map(|row| row.tokens_s).sum()
    };
    engines.sort_by(|a, b| total(b).total_cmp(&total(a)));
    for engine in &engines {
        let own = || rows.iter().filter(|row| row.label() == *engine);
        let rates = workloads.iter().map(|workload| {
            own()
                .find(|row| row.workload == *workload)
                .map_or_else(|| "-".into(), |row| grouped(row.tokens_s))
        });
        let rates: Vec<String> = rates.collect();
        let cosine = own().map(|row| row.cosine_min).fold(f64::INFINITY, f64::min);
        let dates = distinct(own().map(|row| row.date.clone())).join(", ");
        let _ = writeln!(text, "| {engine} | {} | {cosine:.5} | {dates} |", rates.join(" | "));
    }
    text += "\nTokens per second, tokenising included. Commands:\n\n";
    for command in distinct(rows.iter().map(|row| row.command.clone())) {
        let engines = rows.iter().filter(|row| row.command == command).map(|row| row.engine.clone());
        let _ = writeln!(text, "- {}: `{command}`", distinct(engines).join(", "));
    }
    text
}

const WIDTH: f64 = 900.0;
/// Where bars begin; names stand left of it.
const LEFT: f64 = 345.0;
/// Where the largest bar may end; its value stands right of it.
const RIGHT: f64 = WIDTH - 70.0;
const BAR: f64 = 16.0;
const STEP: f64 = 22.0;
const HEADING: f64 = 30.0;
const TOP: f64 = 56.0;

const TEXT: &str = "#6e7781";
const GRID: &str = "#8b949e";
const OUR_BAR: &str = "#2f81f7";
const PEER_BAR: &str = "#9a8c5a";

/// Bars side by side for each workload, the fastest on top.
fn picture(rows: &[Row]) -> String {
    let workloads = workloads(rows);
    let largest = rows.iter().map(|row| row.tokens_s).fold(0.0, f64::max);
    let tick = tick(largest);
    let scale = (RIGHT - LEFT) / ((largest / tick).ceil() * tick);
    let plot_height = workloads.len() as f64 * HEADING + rows.len() as f64 * STEP;
    let height = TOP + plot_height + 60.0;

    let mut body = String::new();
    text_at(&mut body, 12.0, 24.0, "start", 15, "all-MiniLM-L6-v2 on the CPU: tokens per second");
    legend(&mut body);
    let mut at = 0.0;
    while at <= largest + tick * 0.999 {
        let x = LEFT + at * scale;
        let (from, to) = (TOP, TOP + plot_height);
        let _ = writeln!(
            body,
            r#"<line x1="{x:.1}" y1="{from:.1}" x2="{x:.1}" y2="{to:.1}" stroke="{GRID}" stroke-opacity="0.35"/>"#
        );
        text_at(&mut body, x, to + 18.0, "middle", 11, &grouped(at));
        at += tick;
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let axis = "tokens per second, tokenising included (longer is faster)";
    text_at(&mut body, middle, TOP + plot_height + 40.0, "middle", 12, axis);

    let mut y = TOP;
    for workload in &workloads {
        text_at(&mut body, 12.0, y + 20.0, "start", 13, workload);
        y += HEADING;
        let mut own: Vec<&Row> = rows.iter().filter(|row| row.workload == *workload).collect();
        own.sort_by(|a, b| b.tokens_s.total_cmp(&a.tokens_s));
        for row in own {
            let fill = if row.is_ours() { OUR_BAR } else { PEER_BAR };
            let wide = row.tokens_s * scale;
            let name = format!("{} (cosine {:.4})", row.label(), row.cosine_min);
            text_at(&mut body, LEFT - 8.0, y + 12.0, "end", 11, &name);
            let _ = writeln!(
                body,
                r#"<rect x="{LEFT:.1}" y="{y:.1}" width="{wide:.1}" height="{BAR:.1}" rx="2" fill="{fill}"/>"#
            );
            text_at(&mut body, LEFT + wide + 6.0, y + 12.0, "start", 11, &grouped(row.tokens_s));
            y += STEP;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" \
         height=\"{height:.0}\" role=\"img\" font-family=\"system-ui, sans-serif\">\n\
         <title>Tokens per second of embedding engines, by workload</title>\n{body}</svg>\n"
    )
}

fn legend(body: &mut String) {
    for (x, fill, name) in [(12.0, OUR_BAR, "this project"), (130.0, PEER_BAR, "others")] {
        let _ =
            writeln!(body, r#"<rect x="{x:.1}" y="34.0" width="12.0" height="12.0" rx="2" fill="{fill}"/>"#);
        text_at(body, x + 18.0, 44.0, "start", 11, name);
    }
}

fn text_at(body: &mut String, x: f64, y: f64, anchor: &str, size: u32, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        body,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="{TEXT}">{words}</text>"#
    );
}

/// Four to ten steps of 1, 2 or 5 times a power of ten.
fn tick(largest: f64) -> f64 {
    let power = 10_f64.powf((largest / 4.0).log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * power);
    steps.into_iter().find(|step| largest / step >= 4.0).unwrap_or(power)
}

/// Whole, with commas between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::repository_root;

    fn row(engine: &str, workload: &str, tokens_s: f64) -> Row {
        Row {
            engine: engine.into(),
            version: "1".into(),
            precision: "f32".into(),
            workload: workload.into(),
            tokens_s,
            cosine_min: 0.999,
            date: "2026-11-24".into(),
            command: format!("{engine} --run"),
        }
    }

    #[test]
    fn the_committed_picture_is_made_from_the_committed_data() {
        let root = repository_root();
        let committed = fs::read_to_string(root.join(PICTURE)).expect("committed");
        let made = picture(&read(&root).expect("usable data"));
        assert_eq!(committed.replace("\r\n", "\n"), made, "run `cargo xtask bench plot`");
    }

    #[test]
    fn a_picture_names_every_engine_workload_value_and_unit() {
        let svg = picture(&[row("AtlasAI", "W2", 71_500.0), row("a<b", "W3", 900.0)]);
        for words in ["AtlasAI 1 f32", "a&lt;b 1 f32", ">W2<", ">W3<", "71,500", ">900<", "tokens per second"]
        {
            assert!(svg.contains(words), "{words} in {svg}");
        }
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn bars_keep_the_proportions_of_the_rates_and_stay_inside() {
        let svg = picture(&[row("a", "W2", 50_000.0), row("b", "W2", 25_000.0)]);
        let bars = svg.lines().filter(|line| line.contains("height=\"16.0\""));
        let widths: Vec<f64> =
            bars.filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok()).collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01 && LEFT + widths[0] <= RIGHT, "{widths:?}");
    }

    #[test]
    fn a_table_has_the_fastest_first_and_says_what_is_missing() {
        let text = table(&[row("slow", "W2", 10.0), row("quick", "W2", 4_000.4), row("quick", "W3", 3.0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| engine | W2 | W3 | cosine min | date |");
        assert_eq!(lines[2], "| quick 1 f32 | 4,000 | 3 | 0.99900 | 2026-11-24 |");
        assert_eq!(lines[3], "| slow 1 f32 | 10 | - | 0.99900 | 2026-11-24 |");
        assert!(text.contains("- slow: `slow --run`"), "{text}");
    }

    #[test]
    fn data_that_cannot_be_right_is_refused() {
        let one = r#"{"engine":"e","version":"1","precision":"f32","workload":"W2","tokens_s":RATE,"cosine_min":1,
                      "date":"2026-11-24","command":"c"}"#;
        let with = |rate: &str| one.replace("RATE", rate);
        assert!(parse(&format!("[{}]", with("5"))).is_ok());
        for bad in
            ["[]".to_owned(), format!("[{}]", with("0")), format!("[{0},{0}]", with("5")), "{}".to_owned()]
        {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn steps_of_the_axis_are_round() {
        for (largest, expected) in
            [(71_500.0, 10_000.0), (4_000.0, 1_000.0), (9_900.0, 2_000.0), (40_000.0, 10_000.0)]
        {
            assert_eq!(tick(largest), expected, "{largest}");
        }
        assert_eq!((grouped(999.6), grouped(1_234_567.0)), ("1,000".to_owned(), "1,234,567".to_owned()));
    }
}
