//! A job from admission to audit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atlas_domain::{DestinationClass, Timestamp};
use atlas_guard::Guard;
use atlas_llm::{ChatEvent, ChatModel, ChatRequest, Finish, LlmError, Usage};
use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::breaker::{Breaker, Pass};
use crate::error::InferenceError;
use crate::job::{Answered, Job, OnText, ServedBy};
use crate::report::{Failure, Status, TestReport, describe};
use crate::retry::{Budget, delay};

/// Jobs at once. A chat takes seconds to minutes, and a queue in front of it only hides that.
const MOST_JOBS: usize = 16;
/// A deadline says something about the provider only if it was given time to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// The connection test is watched by a person.
const TEST_LIMIT: Duration = Duration::from_secs(30);

/// What the settings made of the AI.
#[derive(Clone)]
pub enum AiState {
    /// Nothing is set: the product works without.
    NotConfigured,
    /// Something is set and cannot work.
    Misconfigured(LlmError),
    /// The one model.
    Ready(Arc<dyn ChatModel>),
}

/// The way to the model.
pub struct Inference {
    state: AiState,
    guard: Arc<Guard>,
    slots: Semaphore,
    breaker: Breaker,
    budget: Budget,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    last_success: Option<Timestamp>,
    last_failure: Option<Failure>,
}

/// What one attempt brought.
struct Attempt {
    text: String,
    finish: Finish,
    usage: Option<Usage>,
    redactions: usize,
}

/// What an attempt has delivered when it fails or is given up.
#[derive(Default)]
struct Progress {
    delivered: bool,
}

impl Inference {
    /// A path to what the settings made.
    pub fn new(state: AiState, guard: Arc<Guard>) -> Self {
        Self {
            state,
            guard,
            slots: Semaphore::new(MOST_JOBS),
            breaker: Breaker::new(),
            budget: Budget::new(),
            seen: Mutex::default(),
        }
    }

    /// What the settings made.
    pub fn state(&self) -> &AiState {
        &self.state
    }

    /// Answers a job. Dropping the future cancels it, upstream too.
    pub async fn complete(&self, job: Job) -> Result<Answered, InferenceError> {
        let model = self.model()?;
        // Over the limit is an answer, not a queue: the caller can come back, and its own
        // deadline is running.
        let _slot = self.slots.try_acquire().map_err(|_| InferenceError::Capacity)?;
        let started = Instant::now();
        let feature = job.feature;
        let answered = self.run(model.as_ref(), job, started).await;
        self.remember(answered.as_ref().err().map(InferenceError::code));
        // Who asked what of whom and what it took; never a text.
        let served_by = served_by(model.as_ref());
        tracing::info!(
            target: "atlas::audit",
            feature = feature.as_str(),
            provider = served_by.provider,
            model = served_by.model,
            host = served_by.host,
            destination = served_by.destination,
            outcome = answered.as_ref().map_or_else(InferenceError::code, |_| "ok"),
            input_tokens = answered.as_ref().map_or(0, |answered| answered.usage.input),
            output_tokens = answered.as_ref().map_or(0, |answered| answered.usage.output),
            redactions = answered.as_ref().map_or(0, |answered| answered.redactions),
            latency_ms = started.elapsed().as_millis() as u64,
            "ai call"
        );
        answered
    }

    /// Proves the connection with the model that serves traffic, and says what to do if it
    /// fails. A provider that answers the test is up, so the breaker closes.
    pub async fn test(&self) -> TestReport {
        let model = match self.model() {
            Ok(model) => model,
            Err(InferenceError::Refused { source }) => {
                return TestReport::failed(None, &source, Duration::ZERO);
            }
            Err(_) => return TestReport::not_configured(),
        };
        let started = Instant::now();
        let probe = async {
            // The guard's verdict on this destination is part of what is tested.
            let nothing = String::new();
            self.guard.clear(nothing, model.destination()).map_err(egress)?;
            let limit = Err(LlmError::Timeout { limit: "connection test" });
            timeout_at(started + TEST_LIMIT, model.probe()).await.unwrap_or(limit)
        };
        let result = probe.await;
        let served_by = served_by(model.as_ref());
        self.remember(result.as_ref().err().map(LlmError::code));
        match result {
            Ok(()) => {
                self.breaker.close();
                TestReport::ok(&served_by, started.elapsed())
            }
            Err(error) => {
                tracing::warn!(provider = served_by.provider, %error, "the connection test failed");
                TestReport::failed(Some(&served_by), &error, started.elapsed())
            }
        }
    }

    /// What is known about the provider without asking it.
    pub fn status(&self) -> Status {
        let (breaker, since) = self.breaker.state();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (state, problem, served_by) = match &self.state {
            AiState::NotConfigured => ("not_configured", None, None),
            AiState::Misconfigured(error) => ("misconfigured", Some(describe(error)), None),
            AiState::Ready(model) => ("ready", None, Some(served_by(model.as_ref()))),
        };
        let Seen { last_success, last_failure } = seen;
        Status { state, problem, served_by, breaker, since, last_success, last_failure }
    }

    fn model(&self) -> Result<&Arc<dyn ChatModel>, InferenceError> {
        match &self.state {
            AiState::NotConfigured => Err(InferenceError::NotConfigured),
            AiState::Misconfigured(error) => Err(InferenceError::Refused { source: error.clone() }),
            AiState::Ready(model) => Ok(model),
        }
    }

    /// Tries, and tries again while nothing was delivered and it may help.
    async fn run(
        &self,
        model: &dyn ChatModel,
        job: Job,
        started: Instant,
    ) -> Result<Answered, InferenceError> {
        let Job { feature: _, request, deadline, mut on_text } = job;
        let end = started + deadline;
        for n_retries in 0.. {
            let pass = self.breaker.admit().map_err(|rejected| InferenceError::Unavailable {
                source: rejected.source,
                retry_after: Some(rejected.retry_after),
            })?;
            let begun = Instant::now();
            let mut progress = Progress::default();
            let attempt = self.attempt(model, &request, &mut on_text, &mut progress);
            let result = match timeout_at(end, attempt).await {
                Ok(result) => result,
                Err(_) => {
                    give_up(pass, &progress, begun);
                    return Err(InferenceError::Deadline);
                }
            };
            let error = match result {
                Ok(attempt) => {
                    pass.succeeded();
                    self.budget.refill();
                    return Ok(answered(model, &request, attempt, started.elapsed()));
                }
                Err(error) => error,
            };
            pass.failed(&error);
            let time_left = end.saturating_duration_since(Instant::now());
            let wait =
                delay(&error, n_retries, time_left).filter(|_| !progress.delivered && self.budget.take());
            let Some(wait) = wait else { return Err(InferenceError::from_llm(error)) };
            tracing::debug!(code = error.code(), wait_ms = wait.as_millis() as u64, "retrying");
            tokio::time::sleep(wait).await;
        }
        Err(InferenceError::Deadline)
    }

    /// Clears the request for the model's destination and reads one answer.
    async fn attempt(
        &self,
        model: &dyn ChatModel,
        request: &ChatRequest,
        on_text: &mut Option<OnText>,
        progress: &mut Progress,
    ) -> Result<Attempt, LlmError> {
        let cleared = self.guard.clear(request.clone(), model.destination()).map_err(egress)?;
        let redactions = cleared.redactions().total();
        let mut stream = model.stream(cleared).await?;
        let mut text = String::new();
        let mut usage = None;
        while let Some(event) = stream.next().await {
            match event? {
                ChatEvent::Text(piece) => {
                    progress.delivered = true;
                    text.push_str(&piece);
                    if let Some(on_text) = on_text {
                        on_text(&piece);
                    }
                }
                ChatEvent::Reasoning(_) => {}
                ChatEvent::Usage(counted) => usage = Some(counted),
                ChatEvent::Finished(finish) => return Ok(Attempt { text, finish, usage, redactions }),
            }
        }
        Err(LlmError::CutShort)
    }

    fn remember(&self, failure: Option<&'static str>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => seen.last_success = Some(Timestamp::now()),
            Some(code) => seen.last_failure = Some(Failure { at: Timestamp::now(), code }),
        }
    }
}

/// The deadline passed during an attempt: silence of some length counts as a failure, a long
/// answer or a hasty caller does not.
fn give_up(pass: Pass<'_>, progress: &Progress, begun: Instant) {
    if !progress.delivered && begun.elapsed() >= PATIENCE {
        pass.failed(&LlmError::Timeout { limit: "the caller's deadline" });
    }
}

fn egress(refusal: atlas_guard::GuardError) -> LlmError {
    LlmError::Egress { detail: refusal.to_string() }
}

fn answered(model: &dyn ChatModel, request: &ChatRequest, attempt: Attempt, latency: Duration) -> Answered {
    let Attempt { text, finish, usage, redactions } = attempt;
    let estimate = || Usage {
        input: request.messages.iter().map(|message| n_tokens(&message.text)).sum(),
        output: n_tokens(&text),
        ..Usage::default()
    };
    Answered {
        usage_estimated: usage.is_none(),
        usage: usage.unwrap_or_else(estimate),
        text,
        finish,
        served_by: served_by(model),
        latency,
        redactions,
    }
}

/// A rule of thumb for the tokenisers in use: four characters of English.
fn n_tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(4)
}

fn served_by(model: &dyn ChatModel) -> ServedBy {
    let destination = model.destination();
    ServedBy {
        provider: model.provider().to_owned(),
        model: model.model().to_owned(),
        host: destination.host_name().to_owned(),
        destination: class_name(destination.class()).to_owned(),
    }
}

fn class_name(class: DestinationClass) -> &'static str {
    match class {
        DestinationClass::InProcess => "in_process",
        DestinationClass::Loopback => "loopback",
        DestinationClass::Private => "private",
        DestinationClass::VendorCloud => "vendor_cloud",
        DestinationClass::Public => "public",
    }
}
