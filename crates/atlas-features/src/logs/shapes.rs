//! What a run of characters in a log line is.

/// Units that a number may end with. Longer ones first where one begins with another.
const UNITS: [&str; 34] = [
    "ms", "us", "µs", "ns", "msec", "msecs", "sec", "secs", "min", "mins", "s", "m", "h", "d", "KiB", "MiB",
    "GiB", "TiB", "KB", "MB", "GB", "TB", "kB", "B", "bytes", "Ki", "Mi", "Gi", "K", "M", "G", "k", "x", "%",
];

/// Everything that stands for something.
pub(super) const PLACEHOLDERS: [&str; 10] =
    ["<time>", "<uuid>", "<ip>", "<mac>", "<host>", "<url>", "<path>", "<hex>", "<num>", "<id>"];

pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
pub(super) const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The placeholder of a run that is one thing as a whole.
pub(super) fn whole(run: &str) -> Option<&'static str> {
    if is_ip(run) {
        Some("<ip>")
    } else if is_number(run) {
        Some("<num>")
    } else if is_time(run) {
        Some("<time>")
    } else if is_uuid(run) {
        Some("<uuid>")
    } else if is_mac(run) {
        Some("<mac>")
    } else if is_url(run) {
        Some("<url>")
    } else if is_hex(run) {
        Some("<hex>")
    } else if is_host(run) {
        Some("<host>")
    } else if is_email(run) {
        Some("<id>")
    } else {
        None
    }
}

/// Sign, digits with points and commas, and a unit; several of those for `1h2m3s`.
pub(super) fn is_number(run: &str) -> bool {
    let mut rest = run.strip_prefix(['-', '+']).unwrap_or(run);
    let mut any = false;
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        any = true;
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
        if rest.is_empty() {
            return true;
        }
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        if !UNITS.contains(&&rest[..unit_end]) {
            return exponent(rest);
        }
        rest = &rest[unit_end..];
    }
    any && rest.is_empty()
}

/// The `e-05` of `1.5e-05`.
fn exponent(rest: &str) -> bool {
    rest.strip_prefix(['e', 'E']).is_some_and(|digits| {
        let digits = digits.strip_prefix(['-', '+']).unwrap_or(digits);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Digits where `pattern` has a `d`, any of `-/.` where it has a `-`, else the byte itself.
fn follows(run: &[u8], pattern: &[u8]) -> bool {
    run.len() >= pattern.len()
        && run.iter().zip(pattern).all(|(byte, expected)| match expected {
            b'd' => byte.is_ascii_digit(),
            b'-' => matches!(byte, b'-' | b'/' | b'.'),
            other => byte == other,
        })
}

/// A date, a time of day, or both in one run.
fn is_time(run: &str) -> bool {
    let bytes = run.as_bytes();
    let begins = follows(bytes, b"dddd-dd-dd") || follows(bytes, b"dd:dd:dd") || follows(bytes, b"d:dd:dd");
    begins
        && bytes.len() <= 40
        && bytes.iter().all(|byte| {
            byte.is_ascii_digit()
                || matches!(byte, b'-' | b'/' | b'.' | b':' | b'T' | b'Z' | b'+' | b',' | b'_')
        })
}

fn is_uuid(run: &str) -> bool {
    let bytes = run.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// IPv4 or IPv6, with or without a port or a prefix length; several with commas between them, as
/// proxies write them.
pub(super) fn is_ip(run: &str) -> bool {
    run.split(',').all(is_one_ip)
}

fn is_one_ip(run: &str) -> bool {
    let address = run.split_once('/').map_or(run, |(address, bits)| {
        if bits.len() <= 3 && bits.bytes().all(|byte| byte.is_ascii_digit()) { address } else { run }
    });
    let host = match address.split_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => address,
    };
    if host.contains('.') && host.len() <= 15 {
        return host.parse::<std::net::Ipv4Addr>().is_ok();
    }
    address.matches(':').count() >= 2 && address.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Six pairs of hexadecimal digits; some systems leave out a leading zero.
fn is_mac(run: &str) -> bool {
    let pairs = |mark: char| {
        let mut n_pairs = 0;
        run.split(mark).all(|pair| {
            n_pairs += 1;
            matches!(pair.len(), 1 | 2) && pair.bytes().all(|byte| byte.is_ascii_hexdigit())
        }) && n_pairs == 6
    };
    (11..=17).contains(&run.len()) && (pairs(':') || pairs('-'))
}

/// A machine's full name: three and more labels, the first with a digit, the last of letters; or
/// two and more before a port. `org.apache.hadoop` and `log4j.properties` are none.
fn is_host(run: &str) -> bool {
    let (name, port) = match run.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, true)
        }
        Some(_) => return false,
        None => (run, false),
    };
    let mut n_labels = 0;
    let good = name.split('.').all(|label| {
        n_labels += 1;
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    });
    let (first, last) = (name.split('.').next().unwrap_or(name), name.rsplit('.').next().unwrap_or(name));
    good && last.len() >= 2
        && last.bytes().all(|byte| byte.is_ascii_lowercase())
        && (n_labels >= 3 && (port || first.bytes().any(|byte| byte.is_ascii_digit())))
}

pub(super) fn is_year(run: &str) -> bool {
    run.len() == 4 && run.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_url(run: &str) -> bool {
    run.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// `0x` and hexadecimal digits, or eight and more with letters and digits among them: a word
/// such as `defaced` has no digit, a number no letter.
fn is_hex(run: &str) -> bool {
    let digits = run.strip_prefix("0x").or_else(|| run.strip_prefix("0X"));
    if let Some(digits) = digits {
        return !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    run.len() >= 8
        && run.bytes().all(|byte| byte.is_ascii_hexdigit())
        && run.bytes().any(|byte| byte.is_ascii_digit())
        && run.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn is_email(run: &str) -> bool {
    run.split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.starts_with('.'))
}

/// An absolute path of two and more segments, or one of Windows. One segment (`/healthz`) is a
/// name, and says what the line is about.
pub(super) fn is_path(run: &str) -> bool {
    let windows = run.as_bytes().get(1) == Some(&b':') && run.as_bytes().get(2) == Some(&b'\\');
    windows || (run.starts_with('/') && run[1..].trim_end_matches('/').contains('/'))
}

/// What a piece of a run is.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Word,
    Number,
    Id,
}

/// `before`: the byte that was written before the piece. A long number that hangs on a name by
/// `_` or `-` is an identity (`blk_3886504906`), not an amount.
pub(super) fn piece(piece: &str, before: Option<u8>) -> Piece {
    let digits = piece.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        return Piece::Word;
    }
    if is_number(piece) {
        let hangs_on_a_name = matches!(before, Some(b'_' | b'-'));
        return if hangs_on_a_name && digits >= 5 { Piece::Id } else { Piece::Number };
    }
    // `http2`, `v1beta1`, `p99` are names; `7d9f8b6c5` and `x2x9z` are made by machines.
    let changes = piece
        .as_bytes()
        .windows(2)
        .filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
        .count();
    if digits >= 4
        || changes >= 3 && digits >= 2 && piece.len() >= 5 && !piece.starts_with('v')
        || is_hex(piece)
    {
        Piece::Id
    } else {
        Piece::Word
    }
}

/// `for user anna`, `session of user anna`: behind these, `user` has a name behind it. Elsewhere it
/// is a word among words (`user login failed`).
pub(super) fn leads_to_a_user(word: &str) -> bool {
    ["for", "by", "from", "of", "as", "invalid", "unknown"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

/// Whether a key says that its value is an identity or an address.
pub(super) fn names_an_id(key: &str) -> bool {
    let last = key.rsplit(['.', '_', '-', ':', '/']).next().unwrap_or(key);
    let lower = |word: &str| last.eq_ignore_ascii_case(word);
    lower("id")
        || lower("uuid")
        || lower("guid")
        || lower("uid")
        || lower("traceid")
        || lower("spanid")
        || lower("requestid")
        || lower("sha")
        || lower("digest")
        || lower("host")
        || lower("rhost")
        || lower("hostname")
        || lower("addr")
        || (last.len() > 2 && (last.ends_with("Id") || last.ends_with("ID")))
}
