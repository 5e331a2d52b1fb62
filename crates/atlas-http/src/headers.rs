//! What the headers of an answer say about the call itself.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};

/// Longest request id that is kept.
const REQUEST_ID_LIMIT: usize = 128;

/// How long the other side asks to wait. Milliseconds win over seconds because they are the more
/// exact statement of the same wait; a date that has passed is no wait at all. A value that
/// cannot be read counts as absent.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds = ["retry-after-ms", "x-ms-retry-after-ms"].iter().find_map(|name| {
        let value: f64 = text(headers.get(*name)?)?.parse().ok()?;
        Duration::try_from_secs_f64(value / 1000.0).ok()
    });
    milliseconds.or_else(|| {
        let value = text(headers.get(RETRY_AFTER)?)?;
        match value.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            // The three forms of RFC 9110, section 5.6.7.
            Err(_) => {
                let date = httpdate::parse_http_date(value).ok()?;
                Some(date.duration_since(SystemTime::now()).unwrap_or_default())
            }
        }
    })
}

/// The other side's own verdict on repeating the call, which overrules what the status suggests.
pub fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match text(headers.get("x-should-retry")?)? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The name under which the other side's support finds the call. It is foreign text that goes
/// into logs and answers, so it is short and of visible ASCII characters, or it is nothing.
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    ["x-request-id", "apim-request-id", "request-id", "x-amzn-requestid"].iter().find_map(|name| {
        let value = headers.get(*name)?.as_bytes();
        let visible = value.iter().filter(|byte| byte.is_ascii_graphic()).take(REQUEST_ID_LIMIT);
        let id: String = visible.map(|byte| char::from(*byte)).collect();
        (!id.is_empty()).then_some(id)
    })
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
            })
            .collect()
    }

    #[track_caller]
    fn check(pairs: &[(&'static str, &str)], expect: Option<Duration>) {
        assert_eq!(retry_after(&headers(pairs)), expect, "{pairs:?}");
    }

    #[test]
    fn seconds_may_be_decimal() {
        check(&[("retry-after", "20")], Some(Duration::from_secs(20)));
        check(&[("retry-after", " 1.5 ")], Some(Duration::from_millis(1500)));
        check(&[("retry-after", "0")], Some(Duration::ZERO));
    }

    #[test]
    fn milliseconds_win_over_seconds() {
        check(&[("retry-after", "20"), ("retry-after-ms", "350")], Some(Duration::from_millis(350)));
        check(&[("x-ms-retry-after-ms", "1500"), ("retry-after", "9")], Some(Duration::from_millis(1500)));
        check(&[("retry-after-ms", "soon"), ("retry-after", "9")], Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_date_in_the_past_is_no_wait() {
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            check(&[("retry-after", date)], Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_date_in_the_future_is_the_time_until_then() {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
        let wait = retry_after(&headers(&[("retry-after", &date)])).expect("a wait");
        assert!((3500..=3600).contains(&wait.as_secs()), "{wait:?}");
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        for value in ["", "soon", "-1", "NaN", "inf", "1e300", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            check(&[("retry-after", value)], None);
        }
        check(&[], None);
    }

    #[test]
    fn the_other_side_decides_about_retries() {
        assert_eq!(should_retry(&headers(&[("x-should-retry", "true")])), Some(true));
        assert_eq!(should_retry(&headers(&[("x-should-retry", "false")])), Some(false));
        assert_eq!(should_retry(&headers(&[("x-should-retry", "maybe")])), None);
        assert_eq!(should_retry(&HeaderMap::new()), None);
    }

    #[test]
    fn a_request_id_is_short_and_visible() {
        assert_eq!(
            request_id(&headers(&[("x-amzn-requestid", "b"), ("x-request-id", "a")])),
            Some("a".into())
        );
        assert_eq!(request_id(&headers(&[("apim-request-id", "c")])), Some("c".into()));
        assert_eq!(request_id(&headers(&[("request-id", "req_1 2\t3")])), Some("req_123".into()));
        assert_eq!(request_id(&headers(&[("x-request-id", "  "), ("request-id", "d")])), Some("d".into()));
        let long = "x".repeat(500);
        assert_eq!(request_id(&headers(&[("x-request-id", &long)])).map(|id| id.len()), Some(128));
        assert_eq!(request_id(&HeaderMap::new()), None);
    }
}
