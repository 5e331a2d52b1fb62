//! `eval`: how good search and embeddings are on the user's own data.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use atlas_config::Settings;
use atlas_domain::TenantScope;
use atlas_features::{AskPassage, AskRequest, Features};
use atlas_guard::Guard;
use atlas_inference::Inference;
use atlas_retrieval::eval::{self, Chunking, EvalError, EvalSet, EvalStep};
use atlas_retrieval::{Hit, Legs, Passage, Retrieval};
use serde_json::{Map, Value};

use super::arguments::{
    Eval, EvalAskArguments, EvalChunking, EvalCorrelationArguments, EvalLegs, EvalRetrievalArguments,
    EvalStsArguments, EvalTemplatesArguments, OnOff,
};
use super::{Output, progress};
use crate::wiring;

/// Runs an evaluation.
pub(crate) async fn run(arguments: Eval, settings: Settings, output: &mut Output) -> anyhow::Result<()> {
    match arguments {
        Eval::Retrieval(arguments) => retrieval(arguments, settings, output).await,
        Eval::Sts(arguments) => sts(arguments, settings, output).await,
        Eval::Templates(arguments) => templates(&arguments, output),
        Eval::Correlation(arguments) => correlation(arguments, output),
        Eval::Ask(arguments) => ask(arguments, settings, output).await,
        Eval::Rca(arguments) => print(&atlas_features::evaluate_rca(&arguments.dir)?, arguments.json, output),
    }
}

/// Reads questions and compares with their queries; where answers are judged, asks them.
async fn ask(arguments: EvalAskArguments, settings: Settings, output: &mut Output) -> anyhow::Result<()> {
    let EvalAskArguments { dir, details, json } = arguments;
    let mut details = details.as_deref().map(Details::create).transpose()?;
    if !dir.join("corpus.jsonl").exists() {
        let (report, judged) = atlas_features::evaluate_ask(&dir)?;
        details.iter_mut().for_each(|details| judged.iter().for_each(|question| details.write(question)));
        details.map_or(Ok(()), Details::finish)?;
        return print(&report, json, output);
    }
    let set = EvalSet::load(&dir, None)?;
    let embedding = wiring::load_embedding(&settings).await?;
    let bar = progress::bar(set.len(), "indexing and asking");
    let mut observe = |step: EvalStep<'_>| match step {
        EvalStep::Done { steps, of } => {
            bar.set_length(of as u64);
            bar.set_position(steps as u64);
        }
        EvalStep::Judged(query) => details.iter_mut().for_each(|details| details.write(&query)),
    };
    let guard = Arc::new(Guard::new());
    // One for all questions: it keeps the vocabulary.
    let features = OnceCell::new();
    let answer = async |retrieval: Arc<Retrieval>, scope: TenantScope, question: String| {
        let inference = Arc::new(Inference::new(Arc::clone(&guard)));
        let features = features.get_or_init(|| Features::new(retrieval, inference));
        let request = AskRequest { with_model: false, limit: 50, ..AskRequest::new(question) };
        let answered = features.ask().answer(&scope, request, |_| {}).await;
        let answer = answered.map_err(|error| EvalError::NotAnswered { reason: error.to_string() })?;
        Ok(answer.passages.into_iter().map(as_hit).collect())
    };
    let report =
        eval::evaluate_by(&set, embedding, Arc::clone(&guard), Chunking::Product, answer, &mut observe)
            .await?;
    details.map_or(Ok(()), Details::finish)?;
    bar.finish_and_clear();
    print(&report, json, output)
}

fn as_hit(passage: AskPassage) -> Hit {
    let AskPassage { key, title, heading, text, facets, score, .. } = passage;
    let (passage, score) = (Passage { heading, text }, score.unwrap_or_default());
    Hit { key, title, score, legs: Vec::new(), passage, facets, explain: None }
}

async fn retrieval(
    arguments: EvalRetrievalArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let set = EvalSet::load(&arguments.dir, arguments.queries.as_deref())?;
    let legs = match arguments.legs {
        EvalLegs::Lexical => Legs::LEXICAL,
        EvalLegs::Vector => Legs::VECTOR,
        EvalLegs::Hybrid => Legs::HYBRID,
    };
    let chunking = match arguments.chunking {
        EvalChunking::Product => Chunking::Product,
        EvalChunking::None => Chunking::None,
    };
    let embedding = match arguments.legs {
        // The lexical leg alone needs no model, so it does not wait for one.
        EvalLegs::Lexical => atlas_embed::Embedding::KeywordsOnly,
        EvalLegs::Vector | EvalLegs::Hybrid => wiring::load_embedding(&settings).await?,
    };
    let bar = progress::bar(set.len(), "indexing and asking");
    let mut details = arguments.details.as_deref().map(Details::create).transpose()?;
    let mut observe = |step: EvalStep<'_>| match step {
        EvalStep::Done { steps, of } => {
            bar.set_length(of as u64);
            bar.set_position(steps as u64);
        }
        EvalStep::Judged(query) => details.iter_mut().for_each(|details| details.write(&query)),
    };
    let guard = Arc::new(Guard::new());
    let report = eval::evaluate(&set, embedding, guard, legs, chunking, &mut observe).await?;
    details.map_or(Ok(()), Details::finish)?;
    bar.finish_and_clear();
    print(&report, arguments.json, output)
}

/// A line per query.
struct Details {
    file: BufWriter<File>,
    shown: String,
    /// The first failure; what follows it is left out.
    written: std::io::Result<()>,
}

impl Details {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let file = File::create(path).with_context(|| format!("{shown} cannot be written"))?;
        Ok(Self { file: BufWriter::new(file), shown, written: Ok(()) })
    }

    fn write(&mut self, query: &impl serde::Serialize) {
        if self.written.is_ok() {
            self.written = serde_json::to_writer(&mut self.file, query)
                .map_err(std::io::Error::from)
                .and_then(|()| self.file.write_all(b"\n"));
        }
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let flushed = self.written.and_then(|()| self.file.flush());
        flushed.with_context(|| format!("{} cannot be written", self.shown))
    }
}

async fn sts(arguments: EvalStsArguments, settings: Settings, output: &mut Output) -> anyhow::Result<()> {
    let embedding = wiring::load_embedding(&settings).await?;
    let report = eval::sts(&arguments.file, &embedding, &Guard::new()).await?;
    print(&report, arguments.json, output)
}

fn templates(arguments: &EvalTemplatesArguments, output: &mut Output) -> anyhow::Result<()> {
    let shown = arguments.file.display();
    let csv = std::fs::read(&arguments.file).with_context(|| format!("{shown} cannot be read"))?;
    let report = atlas_features::evaluate_templates(&String::from_utf8_lossy(&csv))
        .with_context(|| format!("{shown} is no labelled log"))?;
    print(&report, arguments.json, output)
}

fn correlation(arguments: EvalCorrelationArguments, output: &mut Output) -> anyhow::Result<()> {
    let beside = || arguments.dir.join("../alerts-awesome-prometheus/rules.jsonl");
    let options = atlas_features::CorrelationOptions {
        topology: arguments.topology == OnOff::On,
        gap: arguments.gap,
        streams: arguments.streams,
        seed: arguments.seed,
        noise: arguments.noise,
        rules: Some(arguments.rules.clone().unwrap_or_else(beside)),
    };
    let report = atlas_features::evaluate_correlation(&arguments.dir, &options)?;
    print(&report, arguments.json, output)
}

fn print(report: &impl serde::Serialize, json: bool, output: &mut Output) -> anyhow::Result<()> {
    if json {
        return output.json(report);
    }
    let fields: Map<String, Value> =
        serde_json::from_value(serde_json::to_value(report)?).context("a report is an object")?;
    for (name, value) in fields {
        match value.as_f64().filter(|_| value.is_f64()) {
            Some(number) => output.line(&format!("{name:<12} {number:.4}"))?,
            None => output.line(&format!("{name:<12} {value}"))?,
        }
    }
    Ok(())
}
