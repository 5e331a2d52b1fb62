//! The lines: real ones, multiplied.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What stands in for the samples where they are absent.
const MADE_UP: [&str; 8] = [
    "INFO checkout request 48213377 of customer 99120 took 184 ms",
    "WARN connection pool of db-3 has 118 of 120 connections in use",
    "ERROR cannot reach 10.20.30.41:5432 after 3 attempts: connection refused",
    "INFO GET /api/v2/orders/7729182 status=200 bytes=18221 time=0.0912",
    "INFO block blk_7128370237687728475 of 67108864 bytes replicated to 10.251.73.220",
    "INFO worker-17 picked job 991823 from queue mail with 4410 waiting",
    "DEBUG cache hit ratio 0.9312 over 120000 lookups, 8217 evictions",
    "INFO session 55f1c0de77aa opened for uid 1001 from 192.168.14.77",
];

/// From one line to the next: twenty thousand of them are a second.
const STEP_NS: i64 = 50_000;
const BEGIN_NS: i64 = 1_750_000_000_000_000_000;

pub(crate) struct Lines {
    /// The service and the line.
    lines: Vec<(String, String)>,
    origin: &'static str,
}

impl Lines {
    pub(crate) fn read() -> Self {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora/loghub");
        let mut folders: Vec<PathBuf> =
            std::fs::read_dir(samples).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        folders.sort();
        let mut lines = Vec::new();
        for folder in folders {
            let Some(system) = folder.file_name().and_then(|name| name.to_str()) else { continue };
            let text = std::fs::read(folder.join(format!("{system}_2k.log"))).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let service = system.to_lowercase();
            lines.extend(
                text.lines()
                    .filter(|line| !line.trim().is_empty())
                    .map(|line| (service.clone(), line.to_owned())),
            );
        }
        let origin =
            if lines.is_empty() { "our own (SKIPPED: the loghub samples are not here)" } else { "loghub" };
        if lines.is_empty() {
            lines = MADE_UP.map(|line| ("shop".to_owned(), line.to_owned())).to_vec();
        }
        Self { lines, origin }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn origin(&self) -> &'static str {
        self.origin
    }

    pub(crate) fn at_ns(number: usize) -> i64 {
        BEGIN_NS + number as i64 * STEP_NS
    }

    /// A word that only this line has.
    pub(crate) fn marker(&self, number: usize) -> String {
        format!("req-{:09}", (number as u64).wrapping_mul(2_654_435_761) % 1_000_000_007)
    }

    /// `count` lines from `first` on, as newline-delimited JSON.
    pub(crate) fn body(&self, first: usize, count: usize, sender: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(count * 220);
        for number in first..first + count {
            // Systems take turns, and every round begins elsewhere.
            let place = (number as u64).wrapping_mul(7_919) as usize % self.lines.len();
            let (service, line) = &self.lines[place];
            let message = format!("{} {}", varied(line, number as u64), self.marker(number));
            write!(
                body,
                r#"{{"timestamp":{},"service":"{service}","source":"sender-{sender}","message":"#,
                Self::at_ns(number)
            )
            .and_then(|()| serde_json::to_writer(&mut body, &message).map_err(Into::into))
            .expect("memory can be written");
            body.extend_from_slice(b"}\n");
        }
        body
    }
}

/// The line with other digits at the end of its longer numbers: other blocks, ports and times.
fn varied(line: &str, number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = line.as_bytes().to_vec();
    let mut run = 0;
    for byte in &mut bytes {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        if run > 2 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = b'0' + (state >> 60) as u8 % 10;
        }
    }
    String::from_utf8(bytes).expect("digits replaced digits")
}
