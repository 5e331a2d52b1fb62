//! The `.env`-style file.
//!
//! Strict where dialects differ: a line that two programs would read differently is an error
//! with its number, because the value behind it may be a key. No error repeats any of the line.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Entry, Level};
use crate::{Origin, SettingError};

/// Reads the lines; the second part is what is wrong with single ones.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> (Level, Vec<SettingError>) {
    let mut level = BTreeMap::new();
    let mut lines_of = BTreeMap::new();
    let mut problems = Vec::new();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let mut refuse = |problem: &str, fix: &str| {
            let problem = format!("({}), line {number}: {problem}", path.display());
            problems.push(SettingError::invalid("TP_ENV_FILE", problem, fix));
        };
        let Ok(line) = std::str::from_utf8(line) else {
            refuse("not UTF-8", "save the file as UTF-8");
            continue;
        };
        match assignment(line) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if let Some(first) = lines_of.insert(name.to_owned(), number) {
                    refuse(&format!("the name was set in line {first} already"), "keep one of the two lines");
                }
                let origin = Origin::EnvFile { path: path.to_owned(), line: number };
                level.insert(name.to_owned(), Entry { bytes: value.into_bytes(), origin });
            }
            Err((problem, fix)) => refuse(problem, fix),
        }
    }
    (level, problems)
}

type Refusal = (&'static str, &'static str);

/// The name and value of one line; `None` for a blank line or a comment.
fn assignment(line: &str) -> Result<Option<(&str, String)>, Refusal> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let Some((name, value)) = line.split_once('=') else {
        return Err(("there is no `=`", "write NAME=VALUE"));
    };
    let name = name.trim_end();
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(("what stands before `=` is no name", "use letters, digits and underscores"));
    }
    let value = value.trim_start();
    let value = match value.chars().next() {
        Some('\'') => single_quoted(&value[1..])?,
        Some('"') => double_quoted(&value[1..])?,
        _ => unquoted(value).to_owned(),
    };
    Ok(Some((name, value)))
}

/// Up to a comment, which begins with a `#` after a space: a `#` inside a password is part of it.
fn unquoted(value: &str) -> &str {
    let comment =
        value.char_indices().find(|(at, c)| *c == '#' && (*at == 0 || value[..*at].ends_with([' ', '\t'])));
    value[..comment.map_or(value.len(), |(at, _)| at)].trim_end()
}

const UNCLOSED: Refusal = ("the quote is not closed", "close it on the same line; write a line break as \\n");

fn single_quoted(value: &str) -> Result<String, Refusal> {
    let (inside, after) = value.split_once('\'').ok_or(UNCLOSED)?;
    nothing_but_a_comment(after)?;
    Ok(inside.to_owned())
}

fn double_quoted(value: &str) -> Result<String, Refusal> {
    let mut text = String::new();
    let mut chars = value.chars();
    loop {
        match chars.next().ok_or(UNCLOSED)? {
            '"' => break,
            '\\' => text.push(match chars.next().ok_or(UNCLOSED)? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                same @ ('\\' | '"' | '\'' | '$' | '`') => same,
                _ => {
                    return Err((
                        "a backslash stands before a letter that has no meaning there",
                        "double it",
                    ));
                }
            }),
            c => text.push(c),
        }
    }
    nothing_but_a_comment(chars.as_str())?;
    Ok(text)
}

fn nothing_but_a_comment(after: &str) -> Result<(), Refusal> {
    if unquoted(after).is_empty() {
        return Ok(());
    }
    Err(("something follows the closing quote", "put the whole value into quotes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, &str)]) {
        let (level, problems) = parse(Path::new("/etc/atlas.env"), text.as_bytes());
        assert_eq!(problems, []);
        let values: Vec<(&str, &str)> = level
            .iter()
            .map(|(name, entry)| (name.as_str(), std::str::from_utf8(&entry.bytes).expect("text")))
            .collect();
        assert_eq!(values, expect);
    }

    #[track_caller]
    fn check_refused(text: &str, line: usize, expect: &str) {
        let (_, problems) = parse(Path::new("/etc/atlas.env"), text.as_bytes());
        let [problem] = problems.as_slice() else { panic!("one problem: {problems:?}") };
        let shown = problem.to_string();
        assert!(shown.starts_with(&format!("TP_ENV_FILE (/etc/atlas.env), line {line}: ")), "{shown}");
        assert!(shown.contains(expect), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn comments_blank_lines_and_export_are_understood() {
        check(
            "# a\n\nA=1\r\nexport B=2\n  C = 3 # why\nexported=4",
            &[("A", "1"), ("B", "2"), ("C", "3"), ("exported", "4")],
        );
        check("\u{feff}A=1", &[("A", "1")]);
        check("", &[]);
    }

    #[test]
    fn a_hash_inside_a_value_belongs_to_it() {
        check("A=p#ss\nB=#nothing\nC=x\t# note", &[("A", "p#ss"), ("B", ""), ("C", "x")]);
        check("A='a # b' # c", &[("A", "a # b")]);
    }

    #[test]
    fn quotes_keep_spaces_and_escapes_mean_what_they_usually_do() {
        check(r#"A=' $x\n '"#, &[("A", r" $x\n ")]);
        check(r#"A=" a\tb\\ \"c\" \$d ""#, &[("A", " a\tb\\ \"c\" $d ")]);
        check(r#"A="one\ntwo""#, &[("A", "one\ntwo")]);
        check("A=\"1 \"", &[("A", "1 ")]);
        check("A=it's", &[("A", "it's")]);
        check("A=a=b==", &[("A", "a=b==")]);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_nothing_of_it_is_shown() {
        check_refused("A=1\nhunter2", 2, "no `=`");
        check_refused("hunter2 x=1", 1, "no name");
        check_refused("9hunter2=1", 1, "no name");
        check_refused("A=\"hunter2", 1, "not closed");
        check_refused("A='hunter2", 1, "not closed");
        check_refused("A='x' hunter2", 1, "closing quote");
        check_refused("A=\"hunter2\\q\"", 1, "backslash");
        check_refused("A=1\n\nA=hunter2", 3, "line 1");
    }

    #[test]
    fn every_wrong_line_is_reported_and_the_others_are_read() {
        let (level, problems) = parse(Path::new("x"), b"A\nB=1\nC=\xff\n");
        assert_eq!(problems.len(), 2);
        assert_eq!(level.keys().collect::<Vec<_>>(), ["B"]);
    }
}
