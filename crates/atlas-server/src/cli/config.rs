//! `config`: what is set and where, whether it can be used, and what there is to set.

use std::process::ExitCode;

use anyhow::Context;
use atlas_config::{
    Form, Overrides, SETTINGS, SettingDoc, Settings, Shown, Source, Sources, fail_open_warning, suggestion,
    unknown_names,
};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tracing_subscriber::EnvFilter;

use super::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show every setting that has a value; of secrets, that they are set and a fingerprint
    #[command(after_help = "Examples:\n  \
                            atlasai-tp config show --sources\n  \
                            TP_SETTINGS_DIR=/etc/atlas atlasai-tp config show --json")]
    Show(ShowArguments),
    /// Say everything that is wrong with the settings; exit status 1 if something is
    Check,
    /// Describe every setting as JSON: type, default, limits, whether it is secret or waits for a restart
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Say where each value came from, and where settings were looked for
    #[arg(long)]
    pub(crate) sources: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Answers from the settings alone: nothing is opened, connected or written.
pub(crate) fn run(command: Config, overrides: &Overrides, output: &mut Output) -> anyhow::Result<ExitCode> {
    match command {
        Config::Show(arguments) => show(&arguments, overrides, output).map(|()| ExitCode::SUCCESS),
        Config::Check => {
            let findings = check(&Sources::process().read());
            for warning in &findings.warnings {
                output.line(&format!("warning: {warning}"))?;
            }
            for error in &findings.errors {
                output.line(&format!("error: {error}"))?;
            }
            if findings.errors.is_empty() {
                output.line("the settings can be used")?;
                return Ok(ExitCode::SUCCESS);
            }
            Ok(ExitCode::FAILURE)
        }
        Config::Schema => {
            let schema: Vec<Value> = SETTINGS.iter().map(schema).collect();
            output.line(&serde_json::to_string_pretty(&schema)?).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn show(arguments: &ShowArguments, overrides: &Overrides, output: &mut Output) -> anyhow::Result<()> {
    let gathered = Sources::process().read();
    let mut settings = Settings::read_all(&gathered).context("the settings cannot be used")?;
    overrides.apply(&mut settings);
    let shown = settings.shown();
    if arguments.json {
        return output.json(&json!({
            "settings": shown,
            "sources": gathered.sources(),
            "unknown": settings.unknown,
            "warnings": settings.warnings,
        }));
    }
    if arguments.sources {
        for source in gathered.sources() {
            let path = source.path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default();
            let generation =
                source.generation.as_ref().map(|it| format!(", generation {it}")).unwrap_or_default();
            output.line(&format!("# {}{path}: {} values{generation}", source.kind, source.values))?;
        }
    }
    for line in table(&shown, arguments.sources) {
        output.line(&line)?;
    }
    for warning in &warnings(&settings.unknown, &settings.warnings) {
        output.line(&format!("# warning: {warning}"))?;
    }
    Ok(())
}

fn table(shown: &[Shown], sources: bool) -> Vec<String> {
    let line = |setting: &Shown| {
        let value = setting.value.as_ref()?;
        let origin = if sources { format!("  # {}", setting.origin) } else { String::new() };
        Some(format!("{}={value}{origin}", setting.name))
    };
    shown.iter().filter_map(line).collect()
}

struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

fn check(source: &dyn Source) -> Findings {
    let errors = match Settings::read_all(source) {
        Ok(settings) => EnvFilter::try_new(&settings.log)
            .err()
            .map(|error| format!("TP_LOG is no log filter: {error}; use for example info"))
            .into_iter()
            .collect(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    // Asked of the source, because settings that cannot be used have no warnings.
    let fail_open = source.get("AI_CREDITS_FAIL_OPEN").ok().flatten();
    let own: Vec<String> = fail_open.as_deref().and_then(fail_open_warning).into_iter().collect();
    Findings { errors, warnings: warnings(&unknown_names(source), &own) }
}

fn warnings(unknown: &[String], own: &[String]) -> Vec<String> {
    let unknown = unknown.iter().map(|name| match suggestion(name) {
        Some(meant) => format!("{name} is no setting of this program; did you mean {meant}?"),
        None => format!("{name} is no setting of this program"),
    });
    unknown.chain(own.iter().cloned()).collect()
}

fn schema(setting: &SettingDoc) -> Value {
    let mut about = Map::from_iter([
        ("name".to_owned(), json!(setting.name)),
        ("type".to_owned(), json!(setting.form.as_str())),
        ("default".to_owned(), json!(Some(setting.default).filter(|default| !default.is_empty()))),
        ("secret".to_owned(), json!(setting.secret)),
        ("live".to_owned(), json!(setting.live)),
        ("group".to_owned(), json!(setting.group)),
        ("file".to_owned(), json!(setting.may_be_in_file().then(|| format!("{}_FILE", setting.name)))),
        ("description".to_owned(), json!(setting.doc)),
    ]);
    match setting.form {
        Form::Number(least, most) => {
            about.insert("minimum".to_owned(), json!(least));
            about.insert("maximum".to_owned(), json!(most));
        }
        Form::OneOf(words) => {
            about.insert("enum".to_owned(), json!(words));
        }
        Form::Text
        | Form::Path
        | Form::Content
        | Form::Url
        | Form::Address
        | Form::Switch
        | Form::Exact
        | Form::Duration => {}
    }
    Value::Object(about)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn check_says_everything_that_is_wrong_and_what_was_probably_meant() {
        let findings = check(&BTreeMap::from([
            ("TP_LISTEN", "x"),
            ("BYOC_API", "y"),
            ("BYOC_PROVDER", "openai"),
            ("TP_SERVICE_HOST", "10.0.0.1"),
            ("AI_CREDITS_FAIL_OPEN", "1 "),
        ]));
        assert_eq!(findings.errors.len(), 2);
        assert_eq!(
            findings.warnings[..2],
            [
                "BYOC_PROVDER is no setting of this program; did you mean BYOC_PROVIDER?",
                "TP_SERVICE_HOST is no setting of this program"
            ]
        );
        assert!(findings.warnings[2].contains("exactly 1"), "{:?}", findings.warnings);
    }

    #[test]
    fn check_reads_the_log_filter() {
        let findings = check(&BTreeMap::from([("TP_LOG", "a=b=c")]));
        assert!(findings.errors[0].starts_with("TP_LOG"), "{:?}", findings.errors);
        assert!(check(&BTreeMap::new()).errors.is_empty());
    }

    #[test]
    fn the_table_shows_origins_and_no_secret() {
        let sources = Sources::new([("BYOC_API_KEY", "test-key"), ("BYOC_MODEL", "m")]);
        let settings = Settings::read(&sources.read()).expect("usable settings");
        let lines = table(&settings.shown(), true).join("\n");
        assert!(lines.contains("BYOC_MODEL=m  # environment"), "{lines}");
        assert!(lines.contains("TP_LISTEN=127.0.0.1:8080  # default"), "{lines}");
        assert!(lines.contains("BYOC_API_KEY=set (fingerprint "), "{lines}");
        assert!(!lines.contains("test-key"), "{lines}");
    }

    #[test]
    fn the_schema_says_limits_and_words() {
        let of = |name: &str| schema(SettingDoc::find(name).expect("a setting"));
        assert_eq!(of("EMBEDDING_THREADS")["maximum"], 256);
        assert_eq!(of("TP_EGRESS")["enum"], json!(["settings", "private", "off"]));
        assert_eq!(of("BYOC_API_KEY")["file"], "BYOC_API_KEY_FILE");
        assert_eq!(of("TP_LISTEN")["live"], false);
        assert_eq!(of("BYOC_MODEL")["default"], Value::Null);
    }
}
