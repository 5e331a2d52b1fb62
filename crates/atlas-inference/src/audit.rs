//! Who asked what of whom, and what it took; never a text.
//!
//! There is one line for every destination that a job was meant for, written when the call ends,
//! however it ends: a stream whose reader went away has sent a prompt too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atlas_llm::{ChatEvent, ChatRequest, Message, Usage};
use tokio::time::Instant;

use crate::job::{Feature, Plane};
use crate::route::Route;
use crate::snapshot::Snapshot;

/// How many calls ended how, since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Answered by the customer's provider.
    pub answered_byoc: u64,
    /// Answered by the managed AI: as the provider, or in place of one that was down.
    pub answered_control_plane: u64,
    /// Without an answer, or with half of one. A job that the fallback answered counts here too,
    /// for the call that failed.
    pub failed: u64,
    /// The caller went away.
    pub cancelled: u64,
    /// Repetitions.
    pub retries: u64,
    /// Input tokens, guessed ones included.
    pub input_tokens: u64,
    /// Output tokens, guessed ones included.
    pub output_tokens: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    answered_byoc: AtomicU64,
    answered_control_plane: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    retries: AtomicU64,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

impl Tally {
    pub(crate) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            answered_byoc: read(&self.answered_byoc),
            answered_control_plane: read(&self.answered_control_plane),
            failed: read(&self.failed),
            cancelled: read(&self.cancelled),
            retries: read(&self.retries),
            input_tokens: read(&self.input_tokens),
            output_tokens: read(&self.output_tokens),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// Nobody waited for it: what a call is that is dropped before it ended.
    Cancelled,
    Answered,
    Failed(&'static str),
}

/// One call's line in the making.
pub(crate) struct Entry {
    pub(crate) route: Arc<Route>,
    pub(crate) started: Instant,
    pub(crate) redactions: usize,
    pub(crate) degraded: Vec<&'static str>,
    tally: Arc<Tally>,
    snapshot: Arc<Snapshot>,
    feature: Feature,
    attempts: u64,
    input_guess: u64,
    /// Whether the provider took the request; before that it cost nothing.
    accepted: bool,
    output_characters: u64,
    usage: Option<Usage>,
    outcome: Outcome,
    written: bool,
}

impl Entry {
    pub(crate) fn new(
        feature: Feature,
        route: &Arc<Route>,
        request: &ChatRequest,
        snapshot: &Arc<Snapshot>,
        tally: &Arc<Tally>,
    ) -> Self {
        Self {
            route: Arc::clone(route),
            started: Instant::now(),
            redactions: 0,
            degraded: Vec::new(),
            tally: Arc::clone(tally),
            snapshot: Arc::clone(snapshot),
            feature,
            attempts: 0,
            input_guess: request.messages.iter().map(n_tokens_of).sum(),
            accepted: false,
            output_characters: 0,
            usage: None,
            outcome: Outcome::Cancelled,
            written: false,
        }
    }

    pub(crate) fn attempted(&mut self) {
        self.attempts += 1;
        if self.attempts > 1 {
            self.tally.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn accepted(&mut self) {
        self.accepted = true;
        self.output_characters = 0;
        self.usage = None;
    }

    pub(crate) fn note(&mut self, event: &ChatEvent) {
        match event {
            ChatEvent::Text(piece)
            | ChatEvent::Refusal(piece)
            | ChatEvent::Reasoning(piece)
            | ChatEvent::Arguments { json: piece, .. } => {
                self.output_characters += piece.chars().count() as u64;
            }
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            ChatEvent::ToolCall { .. } | ChatEvent::Continuation(_) | ChatEvent::Finished(_) => {}
        }
    }

    /// The tokens, and whether they are a guess.
    pub(crate) fn usage(&self) -> (Usage, bool) {
        match self.usage {
            Some(usage) => (usage, false),
            None if !self.accepted => (Usage::default(), false),
            None => {
                let output = self.output_characters.div_ceil(CHARACTERS_PER_TOKEN);
                (Usage { input: self.input_guess, output, ..Usage::default() }, true)
            }
        }
    }

    pub(crate) fn answered(&mut self) {
        self.outcome = Outcome::Answered;
        self.write();
    }

    pub(crate) fn failed(&mut self, code: &'static str) {
        self.outcome = Outcome::Failed(code);
        self.write();
    }

    fn write(&mut self) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        let served_by = &self.route.served_by;
        let outcome = match self.outcome {
            Outcome::Cancelled => "cancelled",
            Outcome::Answered => "ok",
            Outcome::Failed(code) => code,
        };
        let (usage, usage_estimated) = self.usage();
        tracing::info!(
            target: "atlas::audit",
            feature = self.feature.as_str(),
            served_by = served_by.plane.as_str(),
            provider = served_by.provider,
            model = served_by.model,
            host = served_by.host,
            destination = served_by.destination,
            outcome,
            attempts = self.attempts,
            input_tokens = usage.input,
            output_tokens = usage.output,
            usage_estimated,
            redactions = self.redactions,
            degraded = self.degraded.join(","),
            generation = self.snapshot.plugs.generation,
            latency_ms = self.started.elapsed().as_millis() as u64,
            "ai call"
        );
        self.count(usage);
    }

    fn count(&self, usage: Usage) {
        let (tally, plane) = (&self.tally, self.route.served_by.plane);
        let counter = match (self.outcome, plane) {
            (Outcome::Cancelled, _) => &tally.cancelled,
            (Outcome::Failed(_), _) => &tally.failed,
            (Outcome::Answered, Plane::Byoc) => &tally.answered_byoc,
            (Outcome::Answered, Plane::ControlPlane) => &tally.answered_control_plane,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        tally.input_tokens.fetch_add(usage.input, Ordering::Relaxed);
        tally.output_tokens.fetch_add(usage.output, Ordering::Relaxed);
        // The status is about the configured provider, not about who stood in for it.
        if plane == self.snapshot.plugs.plane {
            match self.outcome {
                Outcome::Cancelled => {}
                Outcome::Answered => self.snapshot.remember(None),
                Outcome::Failed(code) => self.snapshot.remember(Some(code)),
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.write();
    }
}

/// A rule of thumb for the tokenisers in use, with English.
const CHARACTERS_PER_TOKEN: u64 = 4;

/// About how many tokens a text is.
pub(crate) fn n_tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(CHARACTERS_PER_TOKEN)
}

fn n_tokens_of(message: &Message) -> u64 {
    let arguments = match message {
        Message::Assistant(turn) => turn.tool_calls.iter().map(|call| n_tokens(&call.arguments)).sum(),
        Message::System(_) | Message::User(_) | Message::Tool { .. } => 0,
    };
    n_tokens(message.text()) + arguments
}
