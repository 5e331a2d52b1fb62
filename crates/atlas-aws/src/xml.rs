//! The XML that AWS's older services still speak.

/// The text of the first element of that name. What AWS writes are
/// flat elements of plain text, for which an XML reader would be the largest part of this crate.
pub(crate) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    // The ampersand last: it may be part of another one that was escaped.
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    let text = text.replace("&apos;", "'").replace("&amp;", "&");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_found_and_unescaped() {
        let xml = "<E>\n <Code>A&amp;lt;B</Code><Code>second</Code><Empty> </Empty><Open>x</E>";
        assert_eq!(element(xml, "Code").as_deref(), Some("A&lt;B"));
        for name in ["Empty", "Open", "Absent", "ode"] {
            assert_eq!(element(xml, name), None, "{name}");
        }
    }
}
