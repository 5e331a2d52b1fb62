//! The command line: what was typed, dispatched.

mod arguments;
mod ask;
mod backup;
mod bench;
mod client;
mod config;
mod doctor;
mod embed;
mod eval;
mod import;
mod migrate;
mod migrate_store;
mod model;
mod progress;
mod reindex;
mod search;
mod serve;
mod sources;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use atlas_config::{Live, Overrides, SETTINGS, Settings, Sources};
use clap::Parser;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Bench, Command, ServeArguments};

/// Standard output, where answers go; everything else goes to standard error.
struct Output {
    stdout: io::StdoutLock<'static>,
}

impl Output {
    fn line(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.stdout, "{text}")
            .and_then(|()| self.stdout.flush())
            .context("standard output is closed")
    }

    fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        // A reader that has seen enough (`| head`) is not an error.
        Err(error) if error.chain().any(is_broken_pipe) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "atlasai-tp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut output = Output { stdout: io::stdout().lock() };
    let command = arguments.command.unwrap_or(Command::Serve(ServeArguments::default()));
    if let Command::Settings = command {
        return settings_help(&mut output).map(|()| ExitCode::SUCCESS);
    }
    let listen = match &command {
        Command::Serve(arguments) => arguments.listen,
        _ => None,
    };
    let overrides = Overrides { listen, data_dir: arguments.data_dir };
    if let Command::Config(command) = command {
        return config::run(command, &overrides, &mut output);
    }
    if let Command::Model(command) = command {
        return model::run(command, &mut output).map(|()| ExitCode::SUCCESS);
    }
    let live = Live::start(Sources::process(), overrides)?;
    let settings = live.snapshot().settings.clone();
    // Commands other than the server stay quiet: their log would drown their answer.
    let quiet = !matches!(command, Command::Serve(_));
    log(&settings, quiet)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(arguments) => serve::run(arguments, live, &mut output).await?,
            Command::Import(arguments) => import::run(arguments, settings, &mut output).await?,
            Command::Ask(arguments) => ask::run(arguments, settings, &mut output).await?,
            Command::Search(arguments) => search::run(arguments, settings, &mut output).await?,
            Command::Backup(arguments) => backup::make(arguments, settings, &mut output).await?,
            Command::Restore(arguments) => backup::restore(arguments, settings, &mut output).await?,
            Command::Backups(arguments) => backup::list(arguments, settings, &mut output).await?,
            Command::Reindex(arguments) => reindex::run(arguments, settings, &mut output).await?,
            Command::Embed(_) => embed::run(settings, &mut output).await?,
            Command::Bench(Bench::Embed(arguments)) => bench::run(arguments, settings, &mut output).await?,
            Command::Eval(arguments) => eval::run(arguments, settings, &mut output).await?,
            Command::Migrate => migrate::run(settings, &mut output).await?,
            Command::MigrateStore(arguments) => migrate_store::run(arguments, settings, &mut output).await?,
            Command::Doctor(arguments) => return doctor::run(arguments, live, &mut output).await,
            // Answered above, without reading the settings.
            Command::Settings | Command::Config(_) | Command::Model(_) => {}
        }
        Ok(ExitCode::SUCCESS)
    });
    // Blocking work that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    outcome
}

fn log(settings: &Settings, quiet: bool) -> anyhow::Result<()> {
    let wanted = if quiet { "warn" } else { settings.log.as_str() };
    let filter = EnvFilter::try_new(wanted).with_context(|| format!("TP_LOG is no log filter: {wanted}"))?;
    crate::log::init(filter, settings.log_format, io::stderr);
    Ok(())
}

fn settings_help(output: &mut Output) -> anyhow::Result<()> {
    for setting in SETTINGS {
        let default = match (setting.secret, setting.default) {
            (true, _) => " (secret)".to_owned(),
            (false, "") => String::new(),
            (false, default) => format!(" [default: {default}]"),
        };
        output.line(&format!("{}{default}\n    {}", setting.name, setting.doc))?;
    }
    Ok(())
}
