//! Text of strangers as plain text: what a page or a chat could act on, or a reader not see, is
//! taken out.
//!
//! An answer is shown in browsers and pasted into chats. A link that a model made up can carry
//! evidence away when somebody opens it, and an image does so when nobody does. So links and
//! images keep their words only, and an address stays when the shown evidence holds it.

/// Longest free text of an answer, in characters.
const TEXT_CHARACTERS: usize = 1_500;

/// What stands where an address was.
const REMOVED: &str = "[link removed]";

/// Ends of bare names that pages and chats make links of.
const TOP_LEVEL: [&str; 24] = [
    "ai", "app", "cc", "club", "co", "com", "dev", "edu", "example", "gov", "info", "io", "link", "me",
    "net", "online", "org", "ru", "site", "test", "top", "tv", "uk", "xyz",
];

/// Schemes that work without `//`.
const BARE_SCHEMES: [&str; 8] =
    ["javascript:", "vbscript:", "data:", "mailto:", "file:", "blob:", "tel:", "www."];

/// The text without signs that nobody sees: control characters but line ends and tabs, marks of
/// direction, joiners, tags.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !is_unseen(*c)).collect()
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Free text of a model: visible, without markup, of bounded length; addresses only where `shown`
/// holds them.
pub(crate) fn free_text(text: &str, shown: &[&str]) -> String {
    let text: String = visible(text).chars().take(4 * TEXT_CHARACTERS).collect();
    let text = without_markup(&decoded(&text));
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        match address(word) {
            Some(at) if !is_shown(&word[at..], shown) => {
                out.push_str(&word[..at]);
                out.push_str(REMOVED);
                out.push_str(&piece[word.len()..]);
            }
            _ => out.push_str(piece),
        }
    }
    out.trim().chars().take(TEXT_CHARACTERS).collect()
}

fn is_shown(address: &str, shown: &[&str]) -> bool {
    let address = address.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '/');
    // Whole words, for the beginning of a shown address may be another host's.
    let is_end = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || "\"'`,;)>]}".contains(c));
    shown.iter().any(|text| {
        text.match_indices(address).any(|(at, _)| is_end(text[at + address.len()..].chars().next()))
    })
}

/// Entities and escapes that hide markup from a simple reader and not from a browser.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    // Twice, for `&amp;lt;`; nobody writes more by accident.
    for _ in 0..2 {
        for (from, to) in [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&colon;", ":"),
            ("&sol;", "/"),
            ("&quot;", "\""),
            ("&#60;", "<"),
            ("&#62;", ">"),
            ("&#x3c;", "<"),
            ("&#x3e;", ">"),
            ("&#58;", ":"),
            ("&#x3a;", ":"),
            ("&#47;", "/"),
            ("&#x2f;", "/"),
            ("&amp;", "&"),
        ] {
            text = text.replace(from, to).replace(&from.to_uppercase(), to);
        }
    }
    text
}

/// Tags, and what makes links and images of words. A `<` before a space or a digit is less than.
fn without_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '<' if chars.peek().is_some_and(|next| next.is_alphabetic() || "/!?".contains(*next)) => {
                out.push(' ')
            }
            '!' if chars.peek() == Some(&'[') => {}
            // `](` joins words to an address, `][` and `]:` to a name of one.
            ']' if chars.peek().is_some_and(|next| "([:".contains(*next)) => {
                chars.next();
                out.push_str("] ");
            }
            _ => out.push(c),
        }
    }
    out
}

/// Where an address begins in a word.
fn address(word: &str) -> Option<usize> {
    let lower = word.to_ascii_lowercase();
    let schemes = BARE_SCHEMES.iter().filter_map(|scheme| lower.find(scheme));
    // `://`, and `//host` that takes the page's scheme; look-alikes of the signs count.
    let slashes = ["//", "\\\\", "：", "／", "⁄", "∕", "。", "[.]", "hxxp"];
    let slashes = slashes.iter().filter_map(|sign| lower.find(sign).map(|at| scheme_begin(&lower, at)));
    schemes.chain(slashes).chain(host_with_path(&lower)).min()
}

/// From `://` back over the scheme.
fn scheme_begin(word: &str, at: usize) -> usize {
    let before = word[..at].trim_end_matches(':');
    before
        .rfind(|c: char| !c.is_ascii_alphanumeric())
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8))
}

/// `evil.example/x`, `evil.example?x` and `evil.example`: a chat makes a link of it.
fn host_with_path(word: &str) -> Option<usize> {
    let end = word.find(['/', '?', '#', ':']);
    let has_path = end.is_some();
    let end = end.unwrap_or_else(|| word.trim_end_matches(|c: char| !c.is_alphanumeric()).len());
    let begin = word[..end]
        .rfind(|c: char| !c.is_alphanumeric() && !"-._@".contains(c))
        .map_or(0, |at| at + word[at..].chars().next().map_or(1, char::len_utf8));
    let (_, last) = word[begin..end].rsplit_once('.')?;
    let is_host = match has_path {
        true => last.len() >= 2 && last.chars().all(char::is_alphabetic),
        false => TOP_LEVEL.contains(&last),
    };
    is_host.then_some(begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(free_text(text, &["see https://wiki.acme/run?x=1, then db:5432"]), expect);
    }

    #[test]
    fn addresses_stay_only_where_the_evidence_holds_them() {
        check("see https://wiki.acme/run?x=1.", "see https://wiki.acme/run?x=1.");
        check("see https://wiki.acme/run", "see [link removed]");
        check("see https://evil.example/a now", "see [link removed] now");
        check("![a](https://evil.example/p.png)", "[a] [link removed]");
        check("[a](javascript:alert(1))", "[a] [link removed]");
        check("<img src=//evil.example/x>", "img src=[link removed]");
        check("open evil.example/x?y", "open [link removed]");
        check("latency < 5 s and a <b>bold</b> word", "latency < 5 s and a  b>bold /b> word");
        check("db:5432 at 10:04 is 50% full; see cart/web", "db:5432 at 10:04 is 50% full; see cart/web");
    }

    #[test]
    fn what_nobody_sees_is_gone() {
        check("a\u{202e}b\u{200b}c\u{7}d\u{e0041}e", "abcde");
        assert_eq!(visible("a\r\nb\tc"), "a\nb\tc");
        assert_eq!(free_text(&"x".repeat(1_000_000), &[]).chars().count(), TEXT_CHARACTERS);
    }
}
