//! The log: what is written, and how a line of JSON looks.
//!
//! The members are those of tracing's own JSON, so that whatever reads one reads the other. The
//! writer is ours because every AI request has two lines, and theirs took a fifth of its time:
//! they pass each quote and comma through three layers, each of which checks that it is text.

use std::fmt;

use atlas_config::LogFormat;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Begins the log of this process.
pub fn init<W>(filter: EnvFilter, format: LogFormat, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.fmt_fields(JsonFields::new()).event_format(JsonLines).init(),
    }
}

/// Room for most lines.
const ROOM: usize = 512;

/// One line of JSON for each event.
struct JsonLines;

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Line(Vec::with_capacity(ROOM));
        line.put("{\"timestamp\":");
        line.json(time.as_str());
        line.put(",\"level\":");
        line.json(event.metadata().level().as_str());
        line.put(",\"fields\":{");
        event.record(&mut line);
        line.put("},\"target\":");
        line.json(event.metadata().target());
        if let Some(span) = context.lookup_current() {
            line.put(",\"span\":{");
            // An object that was written when the span was made.
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                line.put(fields.fields.trim_start_matches('{').trim_end_matches('}'));
            }
            line.name("name");
            line.json(span.name());
            line.put("}");
        }
        line.put("}\n");
        writer.write_str(std::str::from_utf8(&line.0).map_err(|_| fmt::Error)?)
    }
}

/// A line in the making.
struct Line(Vec<u8>);

impl Line {
    fn put(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn json(&mut self, value: impl Serialize) {
        serde_json::to_writer(&mut self.0, &value).expect("memory takes texts and numbers");
    }

    /// The name of the next member.
    fn name(&mut self, name: &str) {
        if !self.0.ends_with(b"{") {
            self.put(",");
        }
        self.json(name);
        self.put(":");
    }

    fn member(&mut self, field: &Field, value: impl Serialize) {
        self.name(field.name());
        self.json(value);
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt::{SubscriberBuilder, format};

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        /// The one line, without what differs from run to run.
        fn line(&self) -> Value {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let text = std::str::from_utf8(&bytes).expect("text");
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            let mut line: Value = serde_json::from_str(text).expect("JSON");
            let time = line.as_object_mut().and_then(|line| line.remove("timestamp")).expect("a time");
            assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
            line
        }
    }

    fn say() {
        tracing::info_span!("request", request_id = %"a\"b").in_scope(|| {
            let error = io::Error::other("line\nbreak");
            tracing::info!(target: "atlas::audit", word = "ž", %error, n = 3_u64, less = -1, yes = true, "said");
        });
    }

    #[test]
    fn a_line_has_the_members_that_tracings_own_has() {
        let (ours, theirs) = (Kept::default(), Kept::default());
        let writer = ours.clone();
        let log = tracing_subscriber::fmt().fmt_fields(JsonFields::new()).event_format(JsonLines);
        tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), say);
        let writer = theirs.clone();
        let log: SubscriberBuilder<_, format::Format<format::Json>> =
            tracing_subscriber::fmt().json().with_span_list(false);
        tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), say);
        assert_eq!(ours.line(), theirs.line());
        assert_eq!(ours.line()["fields"]["error"], json!("line\nbreak"));
        assert_eq!(ours.line()["span"], json!({ "name": "request", "request_id": "a\"b" }));
    }

    #[test]
    fn an_event_without_a_span_has_none() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().fmt_fields(JsonFields::new()).event_format(JsonLines);
        tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), || {
            tracing::warn!("alone");
        });
        let expect = json!({ "level": "WARN", "fields": { "message": "alone" }, "target": module_path!() });
        assert_eq!(kept.line(), expect);
    }
}
