//! What can be typed behind `eval`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Eval {
    /// Ranking quality on a folder in BEIR layout
    #[command(
        after_help = "DIR holds corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and qrels/test.tsv\n\
                            (query-id, corpus-id, score; with a header line).\n\n\
                            Examples:\n  \
                            atlasai-tp eval retrieval ./scifact --legs hybrid --json\n  \
                            atlasai-tp eval retrieval ./scifact --legs vector --chunking none"
    )]
    Retrieval(EvalRetrievalArguments),
    /// Correlation with human similarity judgements (JSON lines: s1, s2, score)
    Sts(EvalStsArguments),
    /// How log lines are grouped into templates, on a labelled log (CSV: Content, EventId)
    #[command(
        after_help = "Prints the grouping accuracy of the logparser benchmark: a line counts when its whole group is\n\
                            exactly the lines of its true template.\n\n\
                            Example:\n  \
                            atlasai-tp eval templates ./HDFS_2k.log_structured.csv --json"
    )]
    Templates(EvalTemplatesArguments),
    /// How alerts are correlated, on streams simulated from labelled incidents
    #[command(
        after_help = "DIR holds alerts.jsonl (alert_id, incident, alertname, entity, description) and incidents.jsonl\n\
                            (_id, propagations: source, target). Noise comes from --rules (JSON lines: name, description);\n\
                            left out, from DIR/../alerts-awesome-prometheus/rules.jsonl.\n\n\
                            Examples:\n  \
                            atlasai-tp eval correlation ./itbench-dev --json\n  \
                            atlasai-tp eval correlation ./itbench-dev --topology off --noise 0.9 --rules ./rules.jsonl"
    )]
    Correlation(EvalCorrelationArguments),
    /// How well causes are ranked without a model, on labelled incidents
    #[command(
        after_help = "DIR holds alerts.jsonl and incidents.jsonl as for `eval correlation`. The service graph is what the\n\
                            other incidents show.\n\n\
                            Example:\n  \
                            atlasai-tp eval rca ./itbench-dev --json"
    )]
    Rca(EvalRcaArguments),
    /// How well questions are read, or what their answers are worth
    #[command(
        after_help = "DIR holds nl_logql_pairs.jsonl or openstack_questions.jsonl (JSON lines: question, logql): the time and\n\
                            the fields that are read from each question are compared with its LogQL query. Or it is in BEIR\n\
                            layout as for `eval retrieval`: its questions are asked, without a model.\n\n\
                            Examples:\n  \
                            atlasai-tp eval ask ./nl2logql --json\n  \
                            atlasai-tp eval ask ./nl2logql --details judged.jsonl\n  \
                            atlasai-tp eval ask ./logqa-hdfs --json"
    )]
    Ask(EvalAskArguments),
}

#[derive(Debug, Args)]
pub(crate) struct EvalAskArguments {
    /// Folder of questions
    pub(crate) dir: PathBuf,
    /// Write a JSON line per question: how it was read, or what was found
    #[arg(long, value_name = "FILE")]
    pub(crate) details: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether something is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// It is
    On,
    /// It is not
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct EvalCorrelationArguments {
    /// Folder of labelled incidents
    pub(crate) dir: PathBuf,
    /// Whether the service graph is known
    #[arg(long, value_enum, default_value_t = OnOff::On)]
    pub(crate) topology: OnOff,
    /// Mean seconds between the starts of incidents
    #[arg(long, default_value_t = 300.0)]
    pub(crate) gap: f64,
    /// Streams to simulate
    #[arg(long, default_value_t = 200)]
    pub(crate) streams: usize,
    /// Of the random numbers
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Share of noise among all alerts, from 0 to below 1
    #[arg(long, default_value_t = 0.0)]
    pub(crate) noise: f64,
    /// Rules that make the noise
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalRcaArguments {
    /// Folder of labelled incidents
    pub(crate) dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which legs an evaluation asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvalLegs {
    /// Words
    Lexical,
    /// Meaning
    Vector,
    /// Everything, fused: what search does
    Hybrid,
}

/// How an evaluation cuts documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvalChunking {
    /// As the product does
    Product,
    /// Title and text as one input, cut at the model's limit, as published figures do
    None,
}

#[derive(Debug, Args)]
pub(crate) struct EvalRetrievalArguments {
    /// Folder in BEIR layout
    pub(crate) dir: PathBuf,
    /// Queries to use instead of DIR/queries.jsonl
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: Option<PathBuf>,
    /// Which legs to ask
    #[arg(long, value_enum, default_value_t = EvalLegs::Hybrid)]
    pub(crate) legs: EvalLegs,
    /// How to cut documents
    #[arg(long, value_enum, default_value_t = EvalChunking::Product)]
    pub(crate) chunking: EvalChunking,
    /// Write a JSON line per query: its nDCG@10, what was found by which leg, and what people say of it
    #[arg(long, value_name = "FILE")]
    pub(crate) details: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalStsArguments {
    /// JSON lines with s1, s2 and score
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalTemplatesArguments {
    /// CSV with a header line and the columns Content and EventId
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
