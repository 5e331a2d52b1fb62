//! Points in time as senders write them.

use atlas_domain::Timestamp;
use serde_json::Value;

/// RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970. The
/// unit of a number is told by its size: seconds reach 10 digits until the year 2286.
pub(crate) fn read(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.trim().parse().ok().or_else(|| number(text.trim().parse().ok()?)),
        Value::Number(count) => match count.as_i64() {
            Some(whole) => number(whole),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "beyond the range of i64 the time is refused anyway"
            )]
            None => number((count.as_f64()? * 1e6) as i64),
        },
        _ => None,
    }
}

/// Nanoseconds since 1970, as Loki and OTLP count.
pub(crate) fn nanoseconds(count: i128) -> Option<Timestamp> {
    Timestamp::from_nanosecond(count).ok()
}

fn number(count: i64) -> Option<Timestamp> {
    match count.unsigned_abs() {
        0..100_000_000_000 => Timestamp::from_second(count).ok(),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(count).ok(),
        100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_microsecond(count).ok(),
        _ => Timestamp::from_nanosecond(i128::from(count)).ok(),
    }
}
