//! One thread's work: fill a unit, run it, hand out its vectors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::queue::{Helping, Piece, Queue, belongs};
use super::stats::Counters;
use super::window::Window;
use super::{Cause, Encoder};

/// Sequences that run together, each once.
#[derive(Default)]
struct Unit {
    sequences: Vec<Vec<u32>>,
    n_tokens: usize,
    members: Vec<Member>,
}

/// A text that waits for the vector of a sequence.
struct Member {
    window: Arc<Window>,
    position: usize,
    sequence: usize,
}

/// What a thread keeps between units.
struct Bench<E: Encoder> {
    scratch: E::Scratch,
    vectors: Vec<f32>,
}

/// Until the pool is gone.
pub(super) fn run<E: Encoder>(queue: &Queue, counters: &Counters, encoder: &E) {
    let mut bench = Bench::<E> { scratch: encoder.scratch(), vectors: Vec::new() };
    while let Some(helping) = queue.wait() {
        let started = Instant::now();
        let unit = pack(helping, queue, counters, encoder, started);
        if !unit.members.is_empty() {
            counters.unit(unit.members.len(), unit.sequences.len(), unit.n_tokens);
            unit.run(encoder, &mut bench);
            counters.busy(started.elapsed());
        }
    }
}

/// Reads texts until the unit is full or the lane is empty. The queue is not locked meanwhile.
fn pack<E: Encoder>(
    helping: Helping,
    queue: &Queue,
    counters: &Counters,
    encoder: &E,
    started: Instant,
) -> Unit {
    let Helping { priority, target_tokens, mut pieces } = helping;
    let mut unit = Unit::default();
    let mut read_tokens = 0;
    loop {
        let mut surplus = Vec::new();
        for mut piece in pieces.drain(..) {
            if !surplus.is_empty() {
                surplus.push(piece);
                continue;
            }
            if !piece.window.is_wanted() {
                continue;
            }
            if piece.ids.is_empty() {
                match contained(|| encoder.tokenize(piece.text())) {
                    Ok(ids) => piece.ids = ids,
                    Err(cause) => {
                        piece.window.fail(cause);
                        continue;
                    }
                }
            }
            read_tokens += piece.ids.len();
            match unit.add(piece, queue.unit_tokens) {
                Ok(window) => counters.waited(priority, started.saturating_duration_since(window.arrived)),
                Err(piece) => surplus.push(piece),
            }
        }
        if !surplus.is_empty() {
            queue.give_back(priority, surplus);
            return unit;
        }
        // Repeated texts fill no unit, but reading them without end would keep the first waiting.
        if read_tokens < 2 * queue.unit_tokens {
            queue.more(priority, unit.n_tokens, target_tokens, &mut pieces);
        }
        if pieces.is_empty() {
            return unit;
        }
    }
}

impl Unit {
    /// Takes a text that was read, or gives it back when the unit is full.
    fn add(&mut self, piece: Piece, limit: usize) -> Result<Arc<Window>, Piece> {
        // Alert storms repeat themselves across calls. A unit has few dozen sequences: looking
        // at each is cheaper than hashing.
        let known = self.sequences.iter().position(|sequence| *sequence == piece.ids);
        if known.is_none() && !belongs(self.n_tokens, piece.ids.len(), limit) {
            return Err(piece);
        }
        let Piece { window, position, ids } = piece;
        let sequence = known.unwrap_or_else(|| {
            self.n_tokens += ids.len();
            self.sequences.push(ids);
            self.sequences.len() - 1
        });
        self.members.push(Member { window: window.clone(), position, sequence });
        Ok(window)
    }

    fn run<E: Encoder>(self, encoder: &E, bench: &mut Bench<E>) {
        match self.encode(encoder, bench) {
            Ok(()) => {
                let dimension = encoder.dimension();
                for Member { window, position, sequence } in self.members {
                    window.gather(position, &bench.vectors[sequence * dimension..][..dimension]);
                }
            }
            Err(cause) if self.is_of_one_window() => self.members[0].window.fail(cause),
            // One caller's text must not be the failure of another's.
            Err(_) => self.split().into_iter().for_each(|unit| unit.run(encoder, bench)),
        }
    }

    fn encode<E: Encoder>(&self, encoder: &E, bench: &mut Bench<E>) -> Result<(), Cause> {
        let sequences: Vec<&[u32]> = self.sequences.iter().map(Vec::as_slice).collect();
        let n_floats = sequences.len() * encoder.dimension();
        if bench.vectors.len() < n_floats {
            bench.vectors.resize(n_floats, 0.0);
        }
        let (scratch, vectors) = (&mut bench.scratch, &mut bench.vectors[..n_floats]);
        catch_unwind(AssertUnwindSafe(|| encoder.encode(&sequences, scratch, vectors))).unwrap_or_else(
            |panic| {
                // It was left half-way.
                bench.scratch = encoder.scratch();
                Err(panic_message(&*panic).into())
            },
        )
    }

    fn is_of_one_window(&self) -> bool {
        self.members.windows(2).all(|pair| Arc::ptr_eq(&pair[0].window, &pair[1].window))
    }

    /// A unit per window.
    fn split(self) -> Vec<Self> {
        let mut windows: Vec<Arc<Window>> = Vec::new();
        let mut units: Vec<Self> = Vec::new();
        for Member { window, position, sequence } in self.members {
            let number = windows.iter().position(|known| Arc::ptr_eq(known, &window)).unwrap_or_else(|| {
                windows.push(window.clone());
                units.push(Self::default());
                units.len() - 1
            });
            let unit = &mut units[number];
            unit.n_tokens += self.sequences[sequence].len();
            unit.sequences.push(self.sequences[sequence].clone());
            unit.members.push(Member { window, position, sequence: unit.sequences.len() - 1 });
        }
        units
    }
}

/// A panic in the model is the answer to a call, not the end of the thread.
fn contained<T>(work: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panic_message(&*panic).into()))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the model panicked: {}", text.unwrap_or("no message"))
}
