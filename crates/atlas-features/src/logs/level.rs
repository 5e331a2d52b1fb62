//! Log levels: one set of names, and where a line says which.

/// The names of this product, lowest first.
pub(crate) const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];

/// How far into a line a level is looked for: behind the time, a host and a process name.
const HEAD_BYTES: usize = 120;

/// The product's name of a level as senders write it.
pub(super) fn canonical(word: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 18] = [
        ("trace", "trace"),
        ("verbose", "trace"),
        ("debug", "debug"),
        ("dbg", "debug"),
        ("info", "info"),
        ("inf", "info"),
        ("information", "info"),
        ("notice", "info"),
        ("warn", "warn"),
        ("warning", "warn"),
        ("error", "error"),
        ("err", "error"),
        ("severe", "error"),
        ("fatal", "fatal"),
        ("critical", "fatal"),
        ("crit", "fatal"),
        ("panic", "fatal"),
        ("emerg", "fatal"),
    ];
    NAMES.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, level)| level)
}

/// Position in [`LEVELS`]; unknown levels are lowest.
pub(crate) fn rank(level: Option<&str>) -> usize {
    level.and_then(|level| LEVELS.iter().position(|known| *known == level)).map_or(0, |position| position + 1)
}

/// The level a line names. In capitals it counts anywhere in the head; in small letters only
/// where it cannot be prose: in brackets, after `=`, in quotes, or before a colon.
pub(super) fn detect(line: &str) -> Option<&'static str> {
    let head = &line[..line.floor_char_boundary(HEAD_BYTES)];
    let bytes = head.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let length = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let word = &head[at..at + length];
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let after = bytes.get(at + length).copied();
        // `error_count` and `user-info` are names, not levels.
        let joined = |byte: Option<u8>| byte.is_some_and(|byte| matches!(byte, b'_' | b'-' | b'.' | b'/'));
        let marked = matches!(before, Some(b'[' | b'=' | b'"' | b'<' | b'(')) || after == Some(b':');
        let capitals = word.bytes().all(|byte| byte.is_ascii_uppercase());
        if (capitals || marked)
            && !joined(before)
            && !joined(after)
            && let Some(level) = canonical(word)
        {
            return Some(level);
        }
        at += length;
    }
    None
}
