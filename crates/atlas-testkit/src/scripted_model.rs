//! A chat model that says what a test wrote down for it, and a provider of such models.
//!
//! Stricter than a real one: it panics when it is called more often than the script says, so a
//! retry that nobody expects fails the test.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atlas_domain::{Check, Destination, DestinationClass, ModelFacts, ProviderError};
use atlas_guard::Cleared;
use atlas_llm::{
    ChatEvent, ChatModel, ChatRequest, ChatStream, Finish, Inspection, Provider, ToolCall, Usage,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, unfold};

/// What the model does when it is called once.
#[derive(Debug, Clone)]
pub struct Turn {
    accept_after: Duration,
    refusal: Option<ProviderError>,
    events: Vec<Result<ChatEvent, ProviderError>>,
    between: Duration,
}

impl Turn {
    /// Answers with these pieces of text and stops; no tokens are counted.
    pub fn says<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Self {
        let text = pieces.into_iter().map(|piece| Ok(ChatEvent::Text(piece.to_owned())));
        let events = text.chain([Ok(ChatEvent::Finished(Finish::Stop))]).collect();
        Self { accept_after: Duration::ZERO, refusal: None, events, between: Duration::ZERO }
    }

    /// Asks for these tools, with their arguments in one piece each.
    pub fn calls(calls: impl IntoIterator<Item = ToolCall>) -> Self {
        let mut events = Vec::new();
        for (index, ToolCall { id, name, arguments }) in calls.into_iter().enumerate() {
            events.push(ChatEvent::ToolCall { index, id, name });
            events.push(ChatEvent::Arguments { index, json: arguments });
        }
        events.push(ChatEvent::Finished(Finish::ToolCalls));
        Self::yields(events)
    }

    /// Refuses the request.
    pub fn refuses(error: ProviderError) -> Self {
        Self { refusal: Some(error), ..Self::says([]) }
    }

    /// Says these pieces, then fails.
    pub fn breaks_after<'a>(pieces: impl IntoIterator<Item = &'a str>, error: ProviderError) -> Self {
        let mut turn = Self::says(pieces);
        turn.events.pop();
        turn.events.push(Err(error));
        turn
    }

    /// Yields exactly these events.
    pub fn yields(events: impl IntoIterator<Item = ChatEvent>) -> Self {
        Self { events: events.into_iter().map(Ok).collect(), ..Self::says([]) }
    }

    /// Accepts the request and says nothing, until the caller gives up.
    pub fn hangs() -> Self {
        // A year of the paused clock is more than any deadline of a test.
        Self::says([]).pausing(Duration::from_secs(365 * 24 * 3600))
    }

    /// Ends with this reason.
    pub fn finishing(mut self, finish: Finish) -> Self {
        self.events.pop();
        self.events.push(Ok(ChatEvent::Finished(finish)));
        self
    }

    /// Says how many tokens it used.
    pub fn using(mut self, usage: Usage) -> Self {
        let before_the_end = self.events.len().saturating_sub(1);
        self.events.insert(before_the_end, Ok(ChatEvent::Usage(usage)));
        self
    }

    /// Takes this long (of tokio's clock) to accept or to refuse.
    pub fn after(mut self, delay: Duration) -> Self {
        self.accept_after = delay;
        self
    }

    /// Waits this long before every event.
    pub fn pausing(mut self, delay: Duration) -> Self {
        self.between = delay;
        self
    }
}

/// What a turn is made from, when it depends on the question.
type Reply = Box<dyn Fn(&ChatRequest) -> Turn + Send>;

/// The model.
pub struct ScriptedModel {
    name: String,
    label: &'static str,
    destination: Destination,
    facts: ModelFacts,
    script: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<ChatRequest>>,
    reach: Mutex<Vec<Check>>,
    inspection: Mutex<Result<Inspection, ProviderError>>,
    inspected: AtomicUsize,
}

impl ScriptedModel {
    /// A model on loopback that will be called as often as there are turns, at most.
    pub fn new(script: impl IntoIterator<Item = Turn>) -> Self {
        Self::at(Destination::host(DestinationClass::Loopback, "127.0.0.1"), script)
    }

    /// A model somewhere else.
    pub fn at(destination: Destination, script: impl IntoIterator<Item = Turn>) -> Self {
        let model = Self {
            name: "scripted-1".to_owned(),
            label: "scripted",
            destination,
            facts: ModelFacts::default(),
            script: Mutex::default(),
            requests: Mutex::default(),
            reach: Mutex::default(),
            inspection: Mutex::new(Ok(Inspection { model_listed: Some(true), ..Inspection::default() })),
            inspected: AtomicUsize::new(0),
        };
        model.then(script);
        model
    }

    /// With another name than `scripted-1`.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Of another provider than `scripted`.
    pub fn of(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    /// About which this is known.
    pub fn knowing(self, facts: ModelFacts) -> Self {
        Self { facts, ..self }
    }

    /// The checks on the way to it, instead of none.
    pub fn reached_by(&self, checks: impl IntoIterator<Item = Check>) {
        *lock(&self.reach) = checks.into_iter().collect();
    }

    /// What asking about it brings, instead of nothing.
    pub fn inspects_as(&self, inspection: Result<Inspection, ProviderError>) {
        *lock(&self.inspection) = inspection;
    }

    /// How often it was inspected.
    pub fn n_inspections(&self) -> usize {
        self.inspected.load(Ordering::Relaxed)
    }

    /// What it was asked, in order; what a destination really receives, after redaction.
    pub fn requests(&self) -> Vec<ChatRequest> {
        lock(&self.requests).clone()
    }

    /// How many turns were not taken.
    pub fn turns_left(&self) -> usize {
        lock(&self.script).len()
    }

    /// Appends turns.
    pub fn then(&self, turns: impl IntoIterator<Item = Turn>) {
        for turn in turns {
            self.replies(move |_| turn.clone());
        }
    }

    /// Appends a turn that depends on the question.
    pub fn replies(&self, reply: impl Fn(&ChatRequest) -> Turn + Send + 'static) {
        lock(&self.script).push_back(Box::new(reply));
    }
}

impl ChatModel for ScriptedModel {
    fn provider(&self) -> &str {
        self.label
    }

    fn model(&self) -> &str {
        &self.name
    }

    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn stream(&self, request: Cleared<ChatRequest>) -> BoxFuture<'_, Result<ChatStream, ProviderError>> {
        assert_eq!(request.destination(), &self.destination, "cleared for another destination");
        let request = request.into_value();
        let reply = lock(&self.script).pop_front();
        let turn = reply.expect("the model was called more often than the script says")(&request);
        lock(&self.requests).push(request);
        async move {
            pause(turn.accept_after).await;
            match turn.refusal {
                Some(error) => Err(error),
                None => Ok(play(turn.events, turn.between)),
            }
        }
        .boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Vec<Check>> {
        let checks = lock(&self.reach).clone();
        async move { checks }.boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, ProviderError>> {
        self.inspected.fetch_add(1, Ordering::Relaxed);
        let inspection = lock(&self.inspection).clone();
        async move { inspection }.boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Others run in between, also where no time passes: a sleep of nothing takes a millisecond.
async fn pause(time: Duration) {
    match time.is_zero() {
        true => tokio::task::yield_now().await,
        false => tokio::time::sleep(time).await,
    }
}

fn play(events: Vec<Result<ChatEvent, ProviderError>>, between: Duration) -> ChatStream {
    unfold(events.into_iter(), move |mut events| async move {
        pause(between).await;
        events.next().map(|event| (event, events))
    })
    .boxed()
}

/// A provider of scripted models. It refuses a model it does not have.
pub struct ScriptedProvider {
    models: Vec<Arc<ScriptedModel>>,
    connected: AtomicUsize,
}

impl ScriptedProvider {
    /// A provider of these models.
    pub fn of(models: impl IntoIterator<Item = Arc<ScriptedModel>>) -> Arc<Self> {
        Arc::new(Self { models: models.into_iter().collect(), connected: AtomicUsize::new(0) })
    }

    /// How often a model was asked for.
    pub fn n_connects(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }
}

impl Provider for ScriptedProvider {
    fn label(&self) -> &'static str {
        self.models.first().map_or("scripted", |model| model.label)
    }

    fn connect(&self, model: &str) -> Result<Arc<dyn ChatModel>, ProviderError> {
        self.connected.fetch_add(1, Ordering::Relaxed);
        let known = self.models.iter().find(|known| known.name == model);
        let unknown = || ProviderError::setting("BYOC_MODEL", "this provider has no such model");
        Ok(Arc::clone(known.ok_or_else(unknown)?) as Arc<dyn ChatModel>)
    }
}
