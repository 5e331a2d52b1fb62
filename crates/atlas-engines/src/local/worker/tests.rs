//! The queue, with an encoder that stops at a gate instead of a clock.

use std::sync::mpsc;

use futures_util::FutureExt;

use super::*;

/// Embeds a text as its first byte; a batch with `stop` waits at the gate, `panic` panics.
struct Gated {
    arrived: Mutex<mpsc::Sender<()>>,
    open: Mutex<mpsc::Receiver<()>>,
    log: Arc<Mutex<Vec<u32>>>,
}

impl Encoder for Gated {
    fn tokenize(&self, text: &str) -> Result<Vec<u32>, Cause> {
        match text {
            "refuse" => Err("refused".into()),
            _ => Ok(text.bytes().map(u32::from).collect()),
        }
    }

    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, Cause> {
        for sequence in sequences {
            if *sequence == b"stop".map(u32::from) {
                self.arrived.lock().expect("held").send(()).expect("the test listens");
                self.open.lock().expect("held").recv().expect("the test opens");
            }
            assert!(*sequence != b"panic".map(u32::from), "as asked");
            self.log.lock().expect("not poisoned").push(sequence[0]);
        }
        Ok(sequences.iter().map(|sequence| vec![sequence[0] as f32]).collect())
    }
}

struct Gate {
    workers: Workers,
    arrived: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
    log: Arc<Mutex<Vec<u32>>>,
}

/// One thread, one text per batch.
fn gate() -> Gate {
    let (arrive, arrived) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let log = Arc::default();
    let gated = Gated { arrived: Mutex::new(arrive), open: Mutex::new(gate), log: Arc::clone(&log) };
    let limits = Limits { threads: 1, batch_tokens: 4, interactive_texts: 2, bulk_texts: 8, window_texts: 4 };
    Gate { workers: Workers::start(gated, limits).expect("a thread starts"), arrived, open, log }
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Gate {
    fn log(&self) -> String {
        self.log.lock().expect("not poisoned").iter().map(|first| char::from(*first as u8)).collect()
    }
}

#[tokio::test]
async fn answers_keep_the_order_of_the_texts() {
    let gate = gate();
    let words: Vec<String> = (b'a'..=b'z').map(|letter| char::from(letter).to_string().repeat(3)).collect();
    let vectors = gate.workers.embed(words, Priority::Bulk).await.expect("cannot fail");
    assert_eq!(vectors, (b'a'..=b'z').map(|letter| vec![f32::from(letter)]).collect::<Vec<_>>());
    assert!(gate.workers.embed(Vec::new(), Priority::Bulk).await.expect("nothing to do").is_empty());
}

#[tokio::test]
async fn a_query_overtakes_an_import_between_two_batches() {
    let gate = gate();
    let mut import = gate.workers.embed(texts(&["stop", "bulk", "core"]), Priority::Bulk).boxed();
    assert!((&mut import).now_or_never().is_none());
    gate.arrived.recv().expect("the first batch runs");
    let mut query = gate.workers.embed(texts(&["query"]), Priority::Interactive).boxed();
    assert!((&mut query).now_or_never().is_none());
    gate.open.send(()).expect("the thread waits");
    query.await.expect("answered");
    import.await.expect("answered");
    assert_eq!(gate.log(), "sqbc");
}

#[tokio::test]
async fn an_import_waits_for_room_and_a_query_is_refused() {
    let gate = gate();
    let mut import = gate.workers.embed(texts(&["stop"; 20]), Priority::Bulk).boxed();
    assert!((&mut import).now_or_never().is_none());
    gate.arrived.recv().expect("the first batch runs");
    assert_eq!(gate.workers.waiting(), 4, "three batches of the first window, and the second window");

    let mut queries = gate.workers.embed(texts(&["one", "two"]), Priority::Interactive).boxed();
    assert!((&mut queries).now_or_never().is_none());
    let refused = gate.workers.embed(texts(&["three"]), Priority::Interactive).await;
    assert!(matches!(refused, Err(EmbedError::Busy)));

    for _ in 0..20 {
        gate.open.send(()).expect("the thread waits");
    }
    assert_eq!(queries.await.expect("answered").len(), 2);
    assert_eq!(import.await.expect("answered").len(), 20);
    let again = gate.workers.embed(texts(&["three"]), Priority::Interactive).await;
    assert!(again.is_ok(), "room was given back");
}

#[tokio::test]
async fn a_query_larger_than_the_queue_runs_when_it_is_alone() {
    let gate = gate();
    let vectors = gate.workers.embed(texts(&["a", "b", "c", "d", "e", "f"]), Priority::Interactive).await;
    assert_eq!(vectors.expect("alone").len(), 6);
}

#[tokio::test]
async fn work_of_a_dropped_future_is_skipped() {
    let gate = gate();
    let mut first = gate.workers.embed(texts(&["stop"]), Priority::Bulk).boxed();
    assert!((&mut first).now_or_never().is_none());
    gate.arrived.recv().expect("the first batch runs");
    let mut dropped = gate.workers.embed(texts(&["dropped"]), Priority::Bulk).boxed();
    assert!((&mut dropped).now_or_never().is_none());
    drop(dropped);
    gate.open.send(()).expect("the thread waits");
    first.await.expect("answered");
    gate.workers.embed(texts(&["last"]), Priority::Bulk).await.expect("answered");
    assert_eq!(gate.log(), "sl");
}

#[tokio::test]
async fn a_panic_answers_its_own_call_and_the_thread_lives() {
    let gate = gate();
    let failed = gate.workers.embed(texts(&["fine", "panic"]), Priority::Bulk).await;
    let Err(EmbedError::Failed { source }) = failed else { panic!("expected a failure, got {failed:?}") };
    assert_eq!(source.to_string(), "the model panicked: as asked");
    let refused = gate.workers.embed(texts(&["refuse"]), Priority::Bulk).await;
    assert!(matches!(refused, Err(EmbedError::Failed { .. })));
    gate.workers.embed(texts(&["next"]), Priority::Bulk).await.expect("the thread lives");
}

#[tokio::test]
async fn callers_still_waiting_when_the_engine_goes_hear_that_it_stopped() {
    let gate = gate();
    let (reply, answer) = oneshot::channel();
    let room = Arc::new(try_admit(&gate.workers.bulk, 1, 8).expect("room"));
    let mut running = gate.workers.embed(texts(&["stop"]), Priority::Bulk).boxed();
    assert!((&mut running).now_or_never().is_none());
    gate.arrived.recv().expect("the first batch runs");
    let window = Window::new(texts(&["never"]), Priority::Bulk, reply, room);
    gate.workers.queue.push(Priority::Bulk, Task::Tokenize(Arc::new(window)));
    drop(running);
    drop(gate.workers);
    assert!(answer.await.is_err(), "dropped with the queue");
    gate.open.send(()).expect("the thread ends by itself");
}
