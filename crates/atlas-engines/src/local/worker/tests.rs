//! The queue, with an encoder that stops at a gate instead of a clock.

use std::sync::{Mutex, mpsc};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;

/// Embeds a text as its first byte and the number of its unit on this thread; a unit with `stop`
/// waits at the gate, one with `panic` panics.
struct Gated {
    arrived: Mutex<mpsc::Sender<()>>,
    open: Mutex<mpsc::Receiver<()>>,
    units: Arc<Mutex<Vec<String>>>,
}

fn ids(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

impl Encoder for Gated {
    type Scratch = u32;

    fn scratch(&self) -> u32 {
        0
    }

    fn dimension(&self) -> usize {
        2
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, Cause> {
        assert!(text != "unreadable", "as asked");
        if text == "refuse" { Err("refused".into()) } else { Ok(ids(text)) }
    }

    fn encode(&self, sequences: &[&[u32]], n_units: &mut u32, vectors: &mut [f32]) -> Result<(), Cause> {
        *n_units += 1;
        assert_eq!(vectors.len(), sequences.len() * 2);
        for sequence in sequences {
            if *sequence == ids("stop") {
                self.arrived.lock().expect("held").send(()).expect("the test listens");
                self.open.lock().expect("held").recv().expect("the test opens");
            }
            assert!(*sequence != ids("panic"), "as asked");
        }
        let unit = sequences.iter().map(|sequence| char::from(sequence[0] as u8)).collect();
        self.units.lock().expect("not poisoned").push(unit);
        for (sequence, vector) in sequences.iter().zip(vectors.chunks_exact_mut(2)) {
            vector.copy_from_slice(&[sequence[0] as f32, *n_units as f32]);
        }
        Ok(())
    }
}

struct Gate {
    workers: Workers,
    arrived: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
    units: Arc<Mutex<Vec<String>>>,
}

/// One thread, one text of four letters per unit.
const NARROW: Limits = Limits {
    threads: 1,
    unit_tokens: 4,
    interactive_texts: 2,
    bulk_texts: 8,
    bulk_callers: 8,
    window_texts: 4,
    overtakings: 3,
};

/// One thread, room for a dozen texts in a unit.
const WIDE: Limits = Limits { unit_tokens: 48, interactive_texts: 64, bulk_texts: 64, ..NARROW };

fn gate(limits: Limits) -> Gate {
    let (arrive, arrived) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let units = Arc::default();
    let gated = Gated { arrived: Mutex::new(arrive), open: Mutex::new(gate), units: Arc::clone(&units) };
    Gate { workers: Workers::start(gated, limits).expect("a thread starts"), arrived, open, units }
}

type Answer<'a> = BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>>;

impl Gate {
    /// A call that has put its texts into the queue, as far as there was room.
    fn begin<'a>(&'a self, words: &[&str], priority: Priority) -> Answer<'a> {
        let texts = words.iter().map(|word| (*word).to_owned()).collect();
        let mut answer = self.workers.embed(texts, priority).boxed();
        assert!((&mut answer).now_or_never().is_none(), "the thread is held");
        answer
    }

    /// Occupies the thread until the gate opens.
    fn hold(&self, priority: Priority) -> Answer<'_> {
        let held = self.begin(&["stop"], priority);
        self.arrived.recv().expect("the first unit runs");
        held
    }

    async fn embed(&self, words: &[&str], priority: Priority) -> Result<Vec<f32>, EmbedError> {
        let texts = words.iter().map(|word| (*word).to_owned()).collect();
        let vectors = self.workers.embed(texts, priority).await?;
        Ok(vectors.into_iter().map(|vector| vector[0]).collect())
    }

    fn open(&self) {
        self.open.send(()).expect("the thread waits");
    }

    /// First letters of the texts of each unit.
    fn units(&self) -> Vec<String> {
        self.units.lock().expect("not poisoned").clone()
    }
}

#[tokio::test]
async fn answers_keep_the_order_of_the_texts() {
    for limits in [NARROW, WIDE, Limits { threads: 3, ..WIDE }] {
        let gate = gate(limits);
        let words: Vec<String> =
            (b'a'..=b'z').map(|letter| char::from(letter).to_string().repeat(3)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let vectors = gate.embed(&words, Priority::Bulk).await.expect("cannot fail");
        assert_eq!(vectors, (b'a'..=b'z').map(f32::from).collect::<Vec<_>>());
        assert!(gate.embed(&[], Priority::Bulk).await.expect("nothing to do").is_empty());
    }
}

#[tokio::test]
async fn calls_that_wait_share_a_unit() {
    let gate = gate(WIDE);
    let held = gate.hold(Priority::Interactive);
    let calls = ["apple", "berry", "cedar"].map(|word| gate.begin(&[word], Priority::Interactive));
    gate.open();
    held.await.expect("answered");
    for (call, letter) in calls.into_iter().zip("abc".bytes()) {
        assert_eq!(call.await.expect("answered"), [[f32::from(letter), 2.0]]);
    }
    assert_eq!(gate.units(), ["s", "abc"]);
}

#[tokio::test]
async fn a_text_alone_does_not_wait_for_company() {
    let gate = gate(WIDE);
    gate.embed(&["query"], Priority::Interactive).await.expect("answered");
    gate.embed(&["next"], Priority::Interactive).await.expect("answered");
    assert_eq!(gate.units(), ["q", "n"]);
}

#[tokio::test]
async fn a_text_is_computed_once_for_all_who_wait_for_it() {
    let gate = gate(WIDE);
    let held = gate.hold(Priority::Bulk);
    let one = gate.begin(&["apple", "berry", "apple"], Priority::Bulk);
    let other = gate.begin(&["cedar", "apple"], Priority::Bulk);
    gate.open();
    held.await.expect("answered");
    let first = |vectors: Vec<Vec<f32>>| vectors.iter().map(|vector| vector[0] as u8).collect::<Vec<_>>();
    assert_eq!(first(one.await.expect("answered")), *b"aba");
    assert_eq!(first(other.await.expect("answered")), *b"ca");
    assert_eq!(gate.units(), ["s", "abc"]);
    let stats = gate.workers.stats();
    assert_eq!((stats.texts, stats.folded, stats.tokens, stats.units), (6, 2, 4 + 15, 2));
}

#[tokio::test]
async fn a_unit_is_full_on_average_whatever_the_lengths() {
    let gate = gate(WIDE);
    let held = gate.hold(Priority::Bulk);
    // The third text would start within the unit but end far outside.
    let (long, longest) = ("b".repeat(40), "c".repeat(40));
    let call = gate.begin(&["apple", &long, &longest, "d"], Priority::Bulk);
    gate.open();
    held.await.expect("answered");
    call.await.expect("answered");
    assert_eq!(gate.units(), ["s", "ab", "cd"]);
}

#[tokio::test]
async fn threads_that_are_free_share_what_there_is() {
    let gate = gate(Limits { threads: 2, ..WIDE });
    let held = gate.hold(Priority::Interactive);
    // The other thread takes both at once, or one after the other: it may not have slept yet.
    gate.embed(&["one", "two"], Priority::Interactive).await.expect("answered");
    gate.open();
    held.await.expect("answered");
    assert_eq!(gate.units().concat().len(), 3);
}

#[tokio::test]
async fn a_query_overtakes_an_import_between_two_units() {
    let gate = gate(NARROW);
    let import = gate.begin(&["stop", "bulk", "core"], Priority::Bulk);
    gate.arrived.recv().expect("the first unit runs");
    let query = gate.begin(&["query"], Priority::Interactive);
    gate.open();
    query.await.expect("answered");
    import.await.expect("answered");
    assert_eq!(gate.units(), ["s", "q", "b", "c"]);
}

#[tokio::test]
async fn a_stream_of_queries_leaves_an_import_its_share() {
    let gate = gate(Limits { interactive_texts: 64, ..NARROW });
    let held = gate.hold(Priority::Interactive);
    let import = gate.begin(&["bulk", "bulk", "bulk"], Priority::Bulk);
    let queries: Vec<_> = (0..8).map(|n| [format!("{n}...")]).collect();
    let queries: Vec<_> =
        queries.iter().map(|[text]| gate.begin(&[text.as_str()], Priority::Interactive)).collect();
    gate.open();
    held.await.expect("answered");
    for query in queries {
        query.await.expect("answered");
    }
    import.await.expect("answered");
    // Repeated texts of one unit are folded, of different units they are not.
    assert_eq!(gate.units().concat(), "s012b345b67b");
}

#[tokio::test]
async fn an_import_waits_for_room_and_a_query_is_refused() {
    let gate = gate(NARROW);
    let words: Vec<String> = (0..20).map(|n| format!("w{n:03}")).collect();
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words[0] = "stop";
    let import = gate.begin(&words, Priority::Bulk);
    gate.arrived.recv().expect("the first unit runs");
    assert_eq!(gate.workers.stats().waiting_texts, 7, "two windows of four, less the one that runs");

    let queries = gate.begin(&["one", "two"], Priority::Interactive);
    let refused = gate.embed(&["three"], Priority::Interactive).await;
    assert!(matches!(refused, Err(EmbedError::Busy)));

    gate.open();
    assert_eq!(queries.await.expect("answered").len(), 2);
    assert_eq!(import.await.expect("answered").len(), 20);
    let again = gate.embed(&["three"], Priority::Interactive).await;
    assert!(again.is_ok(), "room was given back");
}

#[tokio::test]
async fn an_import_too_many_is_refused() {
    let gate = gate(Limits { bulk_callers: 2, ..NARROW });
    let held = gate.hold(Priority::Bulk);
    let waiting = gate.begin(&["one"], Priority::Bulk);
    assert!(matches!(gate.embed(&["two"], Priority::Bulk).await, Err(EmbedError::Busy)));
    drop(waiting);
    let instead = gate.begin(&["three"], Priority::Bulk);
    gate.open();
    held.await.expect("answered");
    instead.await.expect("the place of a caller that went away is free");
}

#[tokio::test]
async fn a_query_larger_than_the_queue_runs_when_it_is_alone() {
    let gate = gate(NARROW);
    let vectors = gate.embed(&["a", "b", "c", "d", "e", "f"], Priority::Interactive).await;
    assert_eq!(vectors.expect("alone").len(), 6);
}

#[tokio::test]
async fn work_of_a_dropped_future_is_skipped() {
    let gate = gate(NARROW);
    let held = gate.hold(Priority::Bulk);
    drop(gate.begin(&["dropped"], Priority::Bulk));
    gate.open();
    held.await.expect("answered");
    gate.embed(&["last"], Priority::Bulk).await.expect("answered");
    assert_eq!(gate.units(), ["s", "l"]);
}

#[tokio::test]
async fn a_panic_answers_its_own_call_and_the_thread_lives() {
    let gate = gate(NARROW);
    for (words, message) in [
        (["fine", "panic"], "the model panicked: as asked"),
        (["fine", "unreadable"], "the model panicked: as asked"),
        (["fine", "refuse"], "refused"),
    ] {
        let failed = gate.embed(&words, Priority::Bulk).await;
        let Err(EmbedError::Failed { source }) = failed else { panic!("expected a failure, got {failed:?}") };
        assert!(source.to_string().contains(message), "{source}");
    }
    gate.embed(&["next"], Priority::Bulk).await.expect("the thread lives");
}

#[tokio::test]
async fn a_text_that_fails_does_not_fail_its_neighbours_of_other_calls() {
    let gate = gate(WIDE);
    let held = gate.hold(Priority::Interactive);
    let good = gate.begin(&["apple", "berry"], Priority::Interactive);
    let bad = gate.begin(&["panic", "apple"], Priority::Interactive);
    let refused = gate.begin(&["refuse"], Priority::Interactive);
    gate.open();
    held.await.expect("answered");
    let vectors = good.await.expect("not its fault");
    assert_eq!(vectors, [[f32::from(b'a'), 1.0], [f32::from(b'b'), 1.0]], "the scratch is new");
    assert!(matches!(bad.await, Err(EmbedError::Failed { .. })));
    assert!(matches!(refused.await, Err(EmbedError::Failed { .. })));
}

#[tokio::test]
async fn callers_still_waiting_when_the_engine_goes_hear_that_it_stopped() {
    let gate = gate(NARROW);
    let (reply, answer) = oneshot::channel();
    let room = Arc::new(try_admit(&gate.workers.bulk, 1, 8).expect("room"));
    let held = gate.hold(Priority::Bulk);
    gate.workers.queue.push(Priority::Bulk, &Arc::new(Window::new(vec!["never".into()], reply, room)));
    drop(held);
    drop(gate.workers);
    assert!(answer.await.is_err(), "dropped with the queue");
    gate.open.send(()).expect("the thread ends by itself");
}

#[tokio::test]
async fn what_the_threads_do_is_counted() {
    let gate = gate(WIDE);
    gate.embed(&["apple", "berry"], Priority::Bulk).await.expect("answered");
    let stats = gate.workers.stats();
    assert_eq!((stats.threads, stats.unit_tokens, stats.waiting_texts), (1, 48, 0));
    assert_eq!((stats.units, stats.texts, stats.tokens), (1, 2, 10));
    assert!((stats.fill() - 10.0 / 48.0).abs() < 1e-9);
}
