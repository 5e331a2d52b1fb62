//! What a LogQL query asks for: the labels of its stream selectors and its ranges. A reader of
//! just that much, for truth to judge by; everything between quotation marks is skipped.

/// A label and the values it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) name: String,
    /// One of these.
    pub(super) values: Vec<String>,
}

/// What a query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) labels: Vec<Label>,
    /// Seconds.
    pub(super) ranges: Vec<i64>,
    /// It looks at a range that ended before now.
    pub(super) is_shifted: bool,
}

pub(super) fn read(query: &str) -> Selection {
    let mut selection = Selection::default();
    let mut rest = query;
    // The name and the operator in front of a string that follows.
    let mut plain = String::new();
    let mut inside = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '`' => {
                let (text, after) = string(rest, c);
                rest = after;
                if inside {
                    selection.labels.extend(label(&plain, &text));
                }
                plain.clear();
            }
            '{' => (inside, plain) = (true, String::new()),
            '}' => inside = false,
            '[' => {
                let (range, after) = rest.split_once(']').unwrap_or((rest, ""));
                selection.ranges.extend(seconds(range));
                rest = after;
            }
            c => {
                plain.push(c);
                selection.is_shifted |= plain.ends_with("offset");
            }
        }
    }
    if selection.ranges.is_empty() {
        // Where quotation marks are unbalanced, ranges look as if they were in a string.
        let closed = query.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
        selection.ranges.extend(closed.filter_map(|(range, _)| seconds(range)));
    }
    selection
}

/// The text of a string, and what follows it.
fn string(text: &str, mark: char) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == mark {
            return (value, &text[at + c.len_utf8()..]);
        }
        if c == '\\' && mark == '"' {
            value.extend(chars.next().map(|(_, escaped)| escaped));
        } else {
            value.push(c);
        }
    }
    (value, "")
}

fn label(plain: &str, value: &str) -> Option<Label> {
    let plain = plain.trim().trim_start_matches(',').trim();
    let (name, is_pattern) = match plain.strip_suffix("=~") {
        Some(name) => (name, true),
        None => (plain.strip_suffix('=').filter(|name| !name.ends_with('!'))?, false),
    };
    let values = match is_pattern {
        true => value.split('|').map(|value| value.trim_end_matches(".*").to_owned()).collect(),
        false => vec![value.to_owned()],
    };
    let name = name.trim();
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| Label { name: name.to_owned(), values })
}

/// `1h30m`, `7d`: seconds.
fn seconds(range: &str) -> Option<i64> {
    let (mut total, mut number) = (0, String::new());
    for c in range.split(':').next()?.trim().chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            'y' => 365 * 86_400,
            _ => return None,
        };
        total += std::mem::take(&mut number).parse::<i64>().ok()?.checked_mul(unit)?;
    }
    (total > 0 && number.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_ranges_are_read_and_strings_are_not() {
        let query = r#"sum(count_over_time({app="shop-eu", host=~"a|b.*", level!="info"} |= "x {y=\"z\"} [9d]" [1h30m] offset 1d))"#;
        let label = |name: &str, values: &[&str]| Label {
            name: name.into(),
            values: values.iter().map(|v| (*v).into()).collect(),
        };
        let expect = Selection {
            labels: vec![label("app", &["shop-eu"]), label("host", &["a", "b"])],
            ranges: vec![5_400],
            is_shifted: true,
        };
        assert_eq!(read(query), expect);
        assert_eq!(read("{a="), Selection::default());
        assert_eq!(read(r#"{a="b"} |~ "it"s" [2h]"#).ranges, [7_200], "a stray mark hides nothing");
    }
}
