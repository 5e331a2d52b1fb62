//! Two lanes of texts, and who takes from which.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use atlas_embed::Priority;

use super::window::Window;

/// One text on its way.
pub(super) struct Piece {
    pub(super) window: Arc<Window>,
    /// Of the text in its window.
    pub(super) position: usize,
    /// Empty until a thread has read the text.
    pub(super) ids: Vec<u32>,
}

impl Piece {
    pub(super) fn text(&self) -> &str {
        &self.window.texts[self.position]
    }

    /// Exact when the text has been read. English and log lines have about four bytes a token;
    /// a wrong guess costs a second look at the queue.
    fn tokens(&self) -> usize {
        if self.ids.is_empty() { 2 + self.text().len() / 4 } else { self.ids.len() }
    }
}

/// What a free thread is given.
pub(super) struct Helping {
    pub(super) priority: Priority,
    /// Tokens to stop at: those of a unit, or less where other threads are free to share.
    pub(super) target_tokens: usize,
    pub(super) pieces: Vec<Piece>,
}

pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    changed: Condvar,
    pub(super) unit_tokens: usize,
    overtakings: u32,
}

#[derive(Default)]
struct Lanes {
    interactive: VecDeque<Piece>,
    bulk: VecDeque<Piece>,
    /// Threads that wait for work.
    idle: usize,
    /// Interactive units taken since bulk work had to wait.
    overtaken: u32,
    stopped: bool,
}

impl Lanes {
    fn of(&mut self, priority: Priority) -> &mut VecDeque<Piece> {
        match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Bulk => &mut self.bulk,
        }
    }

    /// The lane whose turn it is. People first, but a stream of queries must not stop an import
    /// for ever: it would hold its memory, and its caller, as long as the stream lasts.
    fn turn(&mut self, overtakings: u32) -> Option<Priority> {
        let bulk_waits = !self.bulk.is_empty();
        if self.interactive.is_empty() || (bulk_waits && self.overtaken >= overtakings) {
            self.overtaken = 0;
            return bulk_waits.then_some(Priority::Bulk);
        }
        self.overtaken = if bulk_waits { self.overtaken + 1 } else { 0 };
        Some(Priority::Interactive)
    }
}

/// Whether a text belongs to a unit that has `n_tokens`: its middle has to fall within `limit`,
/// so that units are about full on average, and the first one always does.
pub(super) fn belongs(n_tokens: usize, text_tokens: usize, limit: usize) -> bool {
    n_tokens == 0 || n_tokens + text_tokens / 2 < limit
}

/// Takes texts from the front of a lane for a unit that has `n_tokens` already.
fn take(lane: &mut VecDeque<Piece>, mut n_tokens: usize, limit: usize, into: &mut Vec<Piece>) {
    while let Some(next) = lane.front() {
        let tokens = next.tokens();
        if !belongs(n_tokens, tokens, limit) {
            break;
        }
        n_tokens += tokens;
        into.extend(lane.pop_front());
    }
}

impl Queue {
    pub(super) fn new(unit_tokens: usize, overtakings: u32) -> Self {
        Self { lanes: Mutex::default(), changed: Condvar::new(), unit_tokens, overtakings }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one thread, however many texts there are: it wakes the next if it leaves some.
    pub(super) fn push(&self, priority: Priority, window: &Arc<Window>) {
        let pieces = (0..window.texts.len()).map(|position| Piece {
            window: window.clone(),
            position,
            ids: Vec::new(),
        });
        self.lock().of(priority).extend(pieces);
        self.changed.notify_one();
    }

    /// Waits for work; `None` when the pool is gone.
    pub(super) fn wait(&self) -> Option<Helping> {
        let mut lanes = self.lock();
        loop {
            if lanes.stopped {
                return None;
            }
            if let Some(priority) = lanes.turn(self.overtakings) {
                return Some(self.serve(&mut lanes, priority));
            }
            lanes.idle += 1;
            lanes = self.changed.wait(lanes).unwrap_or_else(PoisonError::into_inner);
            lanes.idle -= 1;
        }
    }

    fn serve(&self, lanes: &mut Lanes, priority: Priority) -> Helping {
        let n_sharers = lanes.idle + 1;
        let lane = lanes.of(priority);
        let mut target_tokens = self.unit_tokens;
        if n_sharers > 1 {
            // No more than can matter is added up.
            let mut waiting_tokens = 0;
            for piece in lane.iter() {
                waiting_tokens += piece.tokens();
                if waiting_tokens >= n_sharers * self.unit_tokens {
                    break;
                }
            }
            target_tokens = target_tokens.min(waiting_tokens.div_ceil(n_sharers));
        }
        let mut pieces = Vec::new();
        take(lane, 0, target_tokens, &mut pieces);
        if n_sharers > 1 && !(lanes.interactive.is_empty() && lanes.bulk.is_empty()) {
            self.changed.notify_one();
        }
        Helping { priority, target_tokens, pieces }
    }

    /// More texts of a lane for a unit that has `n_tokens` already.
    pub(super) fn more(&self, priority: Priority, n_tokens: usize, limit: usize, into: &mut Vec<Piece>) {
        take(self.lock().of(priority), n_tokens, limit, into);
    }

    /// Puts texts back to where they came from, before those that came after them.
    pub(super) fn give_back(&self, priority: Priority, pieces: Vec<Piece>) {
        let mut lanes = self.lock();
        if !lanes.stopped {
            let lane = lanes.of(priority);
            pieces.into_iter().rev().for_each(|piece| lane.push_front(piece));
            if lanes.idle > 0 {
                self.changed.notify_one();
            }
        }
    }

    /// Their callers hear `Stopped` by the dropped replies.
    pub(super) fn stop(&self) {
        let mut lanes = self.lock();
        lanes.stopped = true;
        lanes.interactive.clear();
        lanes.bulk.clear();
        self.changed.notify_all();
    }

    /// Texts in both lanes.
    pub(super) fn waiting(&self) -> usize {
        let lanes = self.lock();
        lanes.interactive.len() + lanes.bulk.len()
    }
}
