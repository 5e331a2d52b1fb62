//! Names of what alerts are about: the same name for every replica, and whether a text says it.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Kinds of object that follow the name of the thing itself.
const KINDS: [&str; 15] = [
    "config",
    "configmap",
    "container",
    "daemonset",
    "deployment",
    "endpoint",
    "job",
    "namespace",
    "node",
    "pod",
    "pvc",
    "replicaset",
    "service",
    "statefulset",
    "svc",
];

/// Most tokens that are read together as one name: `product catalog` is `productcatalog`.
const TOKENS_PER_NAME: usize = 4;

/// Lower case, without what tells replicas apart: `-1` of a stateful set, `-7d9f8c6b5-x2x4z` of a
/// deployment.
pub(crate) fn normalised(name: &str) -> String {
    let name = name.trim().to_lowercase();
    let mut parts: Vec<&str> = name.split('-').collect();
    if parts.len() > 2 && is_pod_suffix(parts[parts.len() - 1]) && is_revision(parts[parts.len() - 2]) {
        parts.truncate(parts.len() - 2);
    } else {
        while parts.len() > 1 && parts.last().is_some_and(|part| is_number(part)) {
            parts.pop();
        }
    }
    parts.join("-")
}

/// The name without its kind and without separators: `product-catalog-service` and
/// `productcatalog-pod` are both `productcatalog`.
pub(crate) fn stem(normalised: &str) -> String {
    let mut parts: Vec<&str> = normalised.split(['-', '_', '.', '/']).collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| KINDS.contains(part) || is_number(part)) {
        parts.pop();
    }
    let stem = parts.concat();
    match stem.strip_suffix("service") {
        Some(shorter) if !shorter.is_empty() => shorter.to_owned(),
        _ => stem,
    }
}

/// The kind that the name ends with, if it does.
pub(crate) fn kind(normalised: &str) -> Option<&'static str> {
    let last = normalised.rsplit('-').next()?;
    KINDS.iter().find(|kind| **kind == last).copied()
}

/// Lower-case runs of letters and digits.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Whether the tokens hold the stem of a normalised name.
pub(super) fn is_named_in(normalised: &str, tokens: &[String]) -> bool {
    let stem = stem(normalised);
    !named(&stem, tokens).is_empty()
}

/// Where the tokens spell out a stem: first token and how many.
pub(crate) fn named(stem: &str, tokens: &[String]) -> Vec<(usize, usize)> {
    let spelled = |from: usize| {
        let mut rest = stem;
        for (count, token) in tokens[from..].iter().take(TOKENS_PER_NAME).enumerate() {
            rest = match rest.strip_prefix(token.as_str()) {
                Some(rest) => rest,
                // `recommendationservice` says `recommendation`.
                None if token.strip_suffix("service") == Some(rest) => "",
                None => return None,
            };
            if rest.is_empty() {
                return Some((from, count + 1));
            }
        }
        None
    };
    if stem.is_empty() { Vec::new() } else { (0..tokens.len()).filter_map(spelled).collect() }
}

pub(super) fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// The hash of a pod template: 8 to 10 letters and digits, digits among them.
fn is_revision(part: &str) -> bool {
    (8..=10).contains(&part.len())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && part.bytes().any(|byte| byte.is_ascii_digit())
}

/// Five characters of the alphabet that Kubernetes uses for generated names, which has no vowels.
fn is_pod_suffix(part: &str) -> bool {
    part.len() == 5 && part.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_have_one_name() {
        for (given, expect) in [
            ("Checkout-Service-1", "checkout-service"),
            ("checkout-7d9f8c6b5-x2x4z", "checkout"),
            ("reviews-v3-pod-1", "reviews-v3-pod"),
            ("postgres-0", "postgres"),
            ("42", "42"),
        ] {
            assert_eq!(normalised(given), expect);
        }
    }

    #[test]
    fn kinds_are_no_part_of_a_stem() {
        for (given, expect) in [
            ("product-catalog-service", "productcatalog"),
            ("productcatalog-pod", "productcatalog"),
            ("recommendationservice-service", "recommendation"),
            ("service", "service"),
        ] {
            assert_eq!(stem(given), expect);
        }
    }

    #[test]
    fn a_text_names_an_entity_in_its_own_words() {
        let named = |name: &str, text: &str| is_named_in(name, &tokens(text));
        assert!(named("product-catalog-service", "Product catalog receives nothing"));
        assert!(named("recommendationservice-pod", "pod otel/recommendation waits"));
        assert!(named("recommendation-service", "recommendationservice is slow"));
        assert!(!named("ad-service", "instead of loading"));
    }
}
