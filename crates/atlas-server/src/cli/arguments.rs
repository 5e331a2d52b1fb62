//! What can be typed.

mod eval;

use std::net::SocketAddr;
use std::path::PathBuf;

use atlas_domain::{Corpus, TenantId};
use atlas_engines::{Backend, Precision};
use atlas_store::BackupName;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::eval::{
    Eval, EvalAskArguments, EvalChunking, EvalCorrelationArguments, EvalLegs, EvalRetrievalArguments,
    EvalStsArguments, EvalTemplatesArguments, OnOff,
};
use super::config::Config;
use super::model::Model;

/// AtlasAI BYOC: incident search, alert similarity and root cause analysis on your own provider.
#[derive(Debug, Parser)]
#[command(
    name = "atlasai-tp",
    version,
    about,
    long_about = "AtlasAI BYOC: incident search, alert similarity and root cause analysis inside your own network.\n\
                  Without arguments it serves on loopback with an embedded store and a local embedding model.\n\
                  Providers and further settings are environment variables: see `atlasai-tp settings`.",
    after_help = "Examples:\n  \
                  atlasai-tp serve --demo\n  \
                  atlasai-tp import runbooks ./runbooks\n  \
                  atlasai-tp search \"checkout latency after deploy\""
)]
pub(crate) struct Arguments {
    /// Where data lives [default: TP_DATA_DIR, else ./atlas-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the API (also what happens without arguments)
    #[command(after_help = "Examples:\n  \
                            atlasai-tp serve\n  \
                            atlasai-tp serve --demo --data-dir /tmp/try\n  \
                            ADMIN_TOKEN=$(openssl rand -hex 16) atlasai-tp serve --listen 0.0.0.0:8080")]
    Serve(ServeArguments),
    /// Import runbooks, incidents, alerts or logs
    #[command(
        after_help = "Everything is read and checked before anything is sent. A server that runs on the same\n\
                            data directory is used; otherwise the import works on the directory itself.\n\n\
                            Examples:\n  \
                            atlasai-tp import runbooks ./runbooks\n  \
                            atlasai-tp import incidents incidents.jsonl --tenant acme\n  \
                            atlasai-tp import alerts webhook.json\n  \
                            atlasai-tp import logs /var/log/app.log --service checkout"
    )]
    Import(ImportArguments),
    /// Ask a question in plain words
    #[command(
        after_help = "Times (\"last night\", \"since the deploy\"), services, hosts, severities and states in the question become\n\
                            conditions, which are shown. With a provider a model answers from what was found.\n\n\
                            Examples:\n  \
                            atlasai-tp ask \"why did checkout fail last night?\"\n  \
                            atlasai-tp ask \"critical alerts since yesterday 18:00\" --utc-offset +02:00\n  \
                            atlasai-tp ask \"timeouts in the payments service since the deploy\" --no-model --json"
    )]
    Ask(AskArguments),
    /// Search runbooks, incidents, alerts and logs
    #[command(after_help = "Examples:\n  \
                            atlasai-tp search \"pods restart after out of memory\"\n  \
                            atlasai-tp search KubePodCrashLooping --corpus runbooks --limit 3\n  \
                            atlasai-tp search \"block not found\" --corpus logs --json\n  \
                            atlasai-tp search 'timeout service:checkout since:2h -payments'")]
    Search(SearchArguments),
    /// Copy tenants into a backup, also while a server runs
    #[command(
        after_help = "A backup lies below backups/ in the data directory, under its name. Each tenant in it is as it\n\
                            was at one moment. `--to` copies the finished backup to another place as well.\n\n\
                            Examples:\n  \
                            atlasai-tp backup\n  \
                            atlasai-tp backup before-upgrade --tenant acme\n  \
                            atlasai-tp backup nightly-1 --to /mnt/backups"
    )]
    Backup(BackupArguments),
    /// Put tenants back to what a backup holds, also while a server runs
    #[command(
        after_help = "The backup is checked before anything is touched. What a tenant holds now is lost; take a backup\n\
                            of it first. Indexes are made anew. `--from` copies a backup into the data directory first.\n\n\
                            Examples:\n  \
                            atlasai-tp restore before-upgrade --tenant acme\n  \
                            atlasai-tp restore nightly-1 --from /mnt/backups"
    )]
    Restore(RestoreArguments),
    /// List the backups
    Backups(BackupsArguments),
    /// Make a tenant's indexes again from its records, and the vectors that are missing
    #[command(after_help = "Search goes on meanwhile. Interrupted, it goes on where it was.\n\n\
                            Example:\n  \
                            atlasai-tp reindex --tenant acme")]
    Reindex(ReindexArguments),
    /// Embed texts: one a line on standard input, one JSON array a line on standard output
    #[command(after_help = "Examples:\n  \
                            echo \"disk is full\" | atlasai-tp embed\n  \
                            atlasai-tp embed < texts.txt > vectors.jsonl")]
    Embed(EmbedArguments),
    /// Measure speed on your own data
    #[command(subcommand)]
    Bench(Bench),
    /// Judge search or embeddings on your own data
    #[command(subcommand)]
    Eval(Eval),
    /// Test the provider, the embedding engine and this machine
    #[command(
        after_help = "Exit code: 0 all is well, 1 something should be known, 2 something does not work.\n\n\
                            Examples:\n  \
                            atlasai-tp doctor\n  \
                            atlasai-tp doctor --deep --json"
    )]
    Doctor(DoctorArguments),
    /// Make or update the tables of TP_STORE, and build what makes its vector search fast
    #[command(
        after_help = "Works as TP_STORE_MIGRATE_USER, which owns the tables, beside running servers. Run it before\n\
                            the first start, before a new version, and from time to time: a tenant that has grown gets\n\
                            an index over its vectors.\n\n\
                            Example:\n  \
                            TP_STORE=postgres://atlasai_server@db.internal/atlasai TP_STORE_MIGRATE_USER=atlasai_owner \\\n    \
                            TP_STORE_MIGRATE_PASSWORD_FILE=/run/secrets/owner atlasai-tp migrate"
    )]
    Migrate,
    /// Move a tenant between the data directory and the database of TP_STORE
    #[command(
        name = "migrate-store",
        after_help = "Copies everything, then reads both sides and compares. Nothing is removed from where it came from.\n\
                      An interrupted run is taken up by the same command. No server may use the data directory\n\
                      meanwhile, and nobody may write the tenant.\n\n\
                      Examples:\n  \
                      atlasai-tp migrate-store --tenant acme --to postgres\n  \
                      atlasai-tp migrate-store --tenant acme --to sqlite --data-dir ./atlas-data"
    )]
    MigrateStore(MigrateStoreArguments),
    /// Show the settings in effect, check them, or describe them
    #[command(subcommand)]
    Config(Config),
    /// Work on the files of an embedding model
    #[command(subcommand)]
    Model(Model),
    /// List every setting with its default and meaning
    Settings,
}

/// One of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreName {
    /// The data directory
    Sqlite,
    /// The database of TP_STORE
    Postgres,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateStoreArguments {
    /// Tenant
    #[arg(long)]
    pub(crate) tenant: TenantId,
    /// Where to
    #[arg(long, value_enum)]
    pub(crate) to: StoreName,
    /// Print a JSON summary
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Also measure what the model can do: streaming, JSON schemas, tools, context (costs some tokens)
    #[arg(long)]
    pub(crate) deep: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args, Default)]
pub(crate) struct ServeArguments {
    /// Address to listen on [default: TP_LISTEN, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Load demo data (a small shop's runbooks, incidents, alerts and logs) into the tenant `default`
    #[arg(long)]
    pub(crate) demo: bool,
}

/// What can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportKind {
    /// Markdown files, or a folder of them; the id is the path below the folder
    Runbooks,
    /// JSON lines, one incident a line
    Incidents,
    /// An Alertmanager webhook body (JSON), or JSON lines of its alerts
    Alerts,
    /// Plain log files (*.log, *.txt), JSON lines (*.jsonl, *.ndjson), or a folder of them
    Logs,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// What to import
    pub(crate) kind: ImportKind,
    /// File or folder
    pub(crate) path: PathBuf,
    /// Tenant; created when it does not exist
    #[arg(long, default_value = "default")]
    pub(crate) tenant: TenantId,
    /// Service of log lines that name none
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Print a JSON summary
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AskArguments {
    /// The question
    pub(crate) question: String,
    /// Where to look; may be repeated [default: all]
    #[arg(long, value_parser = searchable_corpus)]
    pub(crate) corpus: Vec<Corpus>,
    /// Tenant
    #[arg(long, default_value = "default")]
    pub(crate) tenant: TenantId,
    /// Most passages
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) limit: u16,
    /// Your clock's offset from UTC, for "last night" and "since 14:00" [default: Z]
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    pub(crate) utc_offset: Option<String>,
    /// Leave the model out: the passages are the answer
    #[arg(long)]
    pub(crate) no_model: bool,
    /// Print the API's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    /// What to look for
    pub(crate) text: String,
    /// Where to look; may be repeated [default: all]
    #[arg(long, value_parser = searchable_corpus)]
    pub(crate) corpus: Vec<Corpus>,
    /// Tenant
    #[arg(long, default_value = "default")]
    pub(crate) tenant: TenantId,
    /// Most results
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) limit: u16,
    /// Print the API's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn searchable_corpus(name: &str) -> Result<Corpus, String> {
    Corpus::from_name(name)
        .filter(|corpus| Corpus::SEARCHABLE.contains(corpus))
        .ok_or_else(|| format!("use one of {}", Corpus::SEARCHABLE.map(Corpus::as_str).join(", ")))
}

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// Its name [default: the time]
    pub(crate) name: Option<BackupName>,
    /// Only this tenant; may be repeated [default: all]
    #[arg(long)]
    pub(crate) tenant: Vec<TenantId>,
    /// Copy the backup into this folder, too
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// The backup's name
    pub(crate) name: BackupName,
    /// Only this tenant; may be repeated [default: all that the backup holds]
    #[arg(long)]
    pub(crate) tenant: Vec<TenantId>,
    /// Copy the backup from this folder first
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupsArguments {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReindexArguments {
    /// Tenant
    #[arg(long, default_value = "default")]
    pub(crate) tenant: TenantId,
    /// Print the state at the end as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EmbedArguments {
    /// Accepted for symmetry: the output is always one JSON array a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Throughput and latency of the embedding model in this process
    #[command(
        after_help = "FILE is a JSON object of workload name to list of texts, or plain text with one text a line.\n\
                            Each workload is embedded as a whole (best of several runs: texts/s, tokens/s) and text by\n\
                            text (p50, p99). Tokenising is part of every figure; there is no cache.\n\n\
                            Examples:\n  \
                            atlasai-tp bench embed --texts alerts.txt\n  \
                            atlasai-tp bench embed --texts workloads.json --threads 1 --precision f32 --json\n  \
                            atlasai-tp bench embed --texts workloads.json --vectors vectors.jsonl"
    )]
    Embed(BenchEmbedArguments),
}

#[derive(Debug, Args)]
pub(crate) struct BenchEmbedArguments {
    /// The texts
    #[arg(long, value_name = "FILE")]
    pub(crate) texts: PathBuf,
    /// Threads that run the model [default: EMBEDDING_THREADS, else one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    /// auto, f32, exact, fast or max [default: EMBEDDING_PRECISION]
    #[arg(long, value_name = "PRECISION")]
    pub(crate) precision: Option<Precision>,
    /// best, reference, or an instruction set of this processor
    #[arg(long, value_name = "BACKEND", default_value_t = Backend::Best)]
    pub(crate) backend: Backend,
    /// Timed runs over each workload, of which the best counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) reps: u16,
    /// Write the vectors as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) vectors: Option<PathBuf>,
    /// Print one JSON object per workload
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_arguments_means_serve() {
        let arguments = Arguments::try_parse_from(["atlasai-tp"]).expect("parses");
        assert!(arguments.command.is_none());
    }

    #[test]
    fn an_unknown_corpus_is_refused_with_the_list() {
        let error = Arguments::try_parse_from(["atlasai-tp", "search", "x", "--corpus", "wiki"])
            .expect_err("refused");
        assert!(error.to_string().contains("runbooks, incidents, alerts, logs"), "{error}");
    }

    #[test]
    fn a_tenant_that_is_a_path_is_refused() {
        let import = ["atlasai-tp", "import", "runbooks", "x", "--tenant", "../y"];
        assert!(Arguments::try_parse_from(import).is_err());
    }
}
