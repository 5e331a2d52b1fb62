//! A chat model that says what a test wrote down for it.
//!
//! Stricter than a real one: it panics when it is called more often than the script says, so a
//! retry that nobody expects fails the test.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atlas_domain::{Destination, DestinationClass};
use atlas_guard::Cleared;
use atlas_llm::{ChatEvent, ChatModel, ChatRequest, ChatStream, Finish, LlmError, Usage};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, unfold};

/// What the model does when it is called once.
#[derive(Debug, Clone)]
pub struct Turn {
    accept_after: Duration,
    refusal: Option<LlmError>,
    events: Vec<Result<ChatEvent, LlmError>>,
    between: Duration,
}

impl Turn {
    /// Answers with these pieces of text and stops; no tokens are counted.
    pub fn says<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Self {
        let text = pieces.into_iter().map(|piece| Ok(ChatEvent::Text(piece.to_owned())));
        let events = text.chain([Ok(ChatEvent::Finished(Finish::Stop))]).collect();
        Self { accept_after: Duration::ZERO, refusal: None, events, between: Duration::ZERO }
    }

    /// Refuses the request.
    pub fn refuses(error: LlmError) -> Self {
        Self { refusal: Some(error), ..Self::says([]) }
    }

    /// Says these pieces, then fails.
    pub fn breaks_after<'a>(pieces: impl IntoIterator<Item = &'a str>, error: LlmError) -> Self {
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

/// The model. Its probe takes a turn of the script too.
#[derive(Debug)]
pub struct ScriptedModel {
    destination: Destination,
    script: Mutex<VecDeque<Turn>>,
    requests: Mutex<Vec<ChatRequest>>,
}

impl ScriptedModel {
    /// A model on loopback that will be called as often as there are turns, at most.
    pub fn new(script: impl IntoIterator<Item = Turn>) -> Self {
        Self::at(Destination::host(DestinationClass::Loopback, "127.0.0.1"), script)
    }

    /// A model somewhere else.
    pub fn at(destination: Destination, script: impl IntoIterator<Item = Turn>) -> Self {
        Self { destination, script: Mutex::new(script.into_iter().collect()), requests: Mutex::default() }
    }

    /// What it was asked, in order; what a destination really receives, after redaction.
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many turns were not taken.
    pub fn turns_left(&self) -> usize {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Appends turns.
    pub fn then(&self, turns: impl IntoIterator<Item = Turn>) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).extend(turns);
    }

    fn next_turn(&self) -> Turn {
        let turn = self.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        turn.expect("the model was called more often than the script says")
    }
}

impl ChatModel for ScriptedModel {
    fn provider(&self) -> &str {
        "scripted"
    }

    fn model(&self) -> &str {
        "scripted-1"
    }

    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn stream(&self, request: Cleared<ChatRequest>) -> BoxFuture<'_, Result<ChatStream, LlmError>> {
        assert_eq!(request.destination(), &self.destination, "cleared for another destination");
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.into_value());
        let turn = self.next_turn();
        async move {
            tokio::time::sleep(turn.accept_after).await;
            match turn.refusal {
                Some(error) => Err(error),
                None => Ok(play(turn.events, turn.between)),
            }
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), LlmError>> {
        let turn = self.next_turn();
        async move {
            tokio::time::sleep(turn.accept_after).await;
            match turn.refusal {
                Some(error) => Err(error),
                None => atlas_llm::collect(play(turn.events, turn.between)).await.map(drop),
            }
        }
        .boxed()
    }
}

fn play(events: Vec<Result<ChatEvent, LlmError>>, between: Duration) -> ChatStream {
    unfold(events.into_iter(), move |mut events| async move {
        tokio::time::sleep(between).await;
        events.next().map(|event| (event, events))
    })
    .boxed()
}
