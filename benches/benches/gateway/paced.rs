//! Many slow streams at once: is every token there, and how late?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Percentiles;
use crate::client::Target;
use crate::provider::{PACED_TOKENS, now};

const STREAMS: usize = 512;

/// Direct, then through us.
pub(crate) fn measure(direct: Target, ours: Target) -> Value {
    let mut report = json!({});
    for (name, target) in [("direct", direct), ("ours", ours)] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
        let streams = runtime.block_on(async {
            let streams: Vec<_> = (0..STREAMS).map(|_| tokio::spawn(read(target))).collect();
            let mut ended = Vec::new();
            for stream in streams {
                ended.push(stream.await.expect("a client that does not panic"));
            }
            ended
        });
        let whole = streams.iter().filter(|stream| stream.done).count();
        let late: Vec<Duration> = streams.iter().flat_map(|stream| stream.late.clone()).collect();
        let lost = STREAMS * PACED_TOKENS - late.len();
        let percentiles = Percentiles::of(&late);
        println!(
            "{STREAMS} paced streams, {name}: {whole} whole, {lost} of {} tokens lost, on the way {percentiles}",
            STREAMS * PACED_TOKENS
        );
        report[name] = json!({
            "streams": STREAMS, "whole": whole, "lost_tokens": lost,
            "late_p50_us": percentiles.p50, "late_p99_us": percentiles.p99,
        });
    }
    report
}

struct Read {
    /// How long every token was on its way.
    late: Vec<Duration>,
    done: bool,
}

async fn read(target: Target) -> Read {
    let mut socket = TcpStream::connect(target.address).await.expect("connected");
    socket.write_all(&target.request(true, "paced")).await.expect("sent");
    let (mut bytes, mut read_to) = (Vec::new(), 0);
    let mut read = Read { late: Vec::with_capacity(PACED_TOKENS), done: false };
    while !bytes.ends_with(b"0\r\n\r\n") {
        if socket.read_buf(&mut bytes).await.expect("read") == 0 {
            break;
        }
        // Tokens look like `@<nanoseconds> `.
        while let Some(at) = bytes[read_to..].iter().position(|byte| *byte == b'@') {
            let text = &bytes[read_to + at + 1..];
            let Some(end) = text.iter().position(|byte| *byte == b' ') else { break };
            let sent: u64 = std::str::from_utf8(&text[..end]).expect("digits").parse().expect("a number");
            read.late.push(now().saturating_sub(Duration::from_nanos(sent)));
            read_to += at + 1 + end;
        }
    }
    read.done = bytes.windows(12).any(|window| window == b"data: [DONE]");
    read
}
