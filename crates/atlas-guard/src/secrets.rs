//! Secrets in free text: what they look like, and what takes their place.
//!
//! Each rule is a prefix or a context that is specific enough to leave ordinary log lines and
//! runbooks alone; a digest, a block id or a UUID on its own is not a secret.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::cleared::Redactions;

struct Rule {
    kind: &'static str,
    pattern: Regex,
}

/// Patterns follow the vendors' published token formats. The group `keep`, where there is one,
/// stays (`password=`), so that the reader still sees what kind of thing stood there.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |kind, pattern| Rule { kind, pattern: Regex::new(pattern).expect("a constant pattern") };
    vec![
        rule(
            "private_key",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        ),
        rule("aws_access_key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
        rule("github_token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b"),
        rule("gitlab_token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
        rule("slack_token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        rule("slack_webhook", r"https://hooks\.slack\.com/services/[A-Za-z0-9/_-]+"),
        rule("openai_key", r"\bsk-(?:proj-|svcacct-|admin-|ant-)?[A-Za-z0-9_-]{20,}"),
        rule("google_api_key", r"\bAIza[0-9A-Za-z_-]{35}"),
        rule("stripe_key", r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{16,}"),
        rule("json_web_token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        rule("npm_token", r"\bnpm_[A-Za-z0-9]{36}\b"),
        rule("vault_token", r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}"),
        rule("url_password", r"(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+(?P<after>@)"),
        rule("bearer_token", r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{16,}=*"),
        rule(
            "assigned_secret",
            r#"(?i)(?P<keep>\b[a-z0-9_.-]*(?:password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|private[_-]?token)["']?\s*[:=]\s*["']?)[^\s"',;&]{6,}"#,
        ),
    ]
});

/// Replaces secrets in `text` in place and counts them by kind.
pub(crate) fn redact(text: &mut String, redactions: &mut Redactions) {
    for rule in RULES.iter() {
        if !rule.pattern.is_match(text) {
            continue;
        }
        let mut found = 0;
        let replaced = rule.pattern.replace_all(text, |captures: &Captures<'_>| {
            let keep = captures.name("keep").map_or("", |group| group.as_str());
            let after = captures.name("after").map_or("", |group| group.as_str());
            if captures[0].get(keep.len()..).is_some_and(|rest| rest.starts_with("[REDACTED:")) {
                return captures[0].to_owned();
            }
            found += 1;
            format!("{keep}[REDACTED:{}]{after}", rule.kind)
        });
        *text = replaced.into_owned();
        if found > 0 {
            *redactions.0.entry(rule.kind).or_default() += found;
        }
    }
}

#[cfg(test)]
mod tests {
    use atlas_domain::{Destination, DestinationClass};

    use crate::{Guard, GuardError};

    fn cleared_for_outside(text: &str) -> Result<(String, usize), GuardError> {
        let outside = Destination::host(DestinationClass::Public, "api.example.com");
        let cleared = Guard::new().clear(text.to_owned(), &outside)?;
        Ok((cleared.value().clone(), cleared.redactions().total()))
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let (cleared, found) = cleared_for_outside(text).expect("allowed");
        assert_eq!(cleared, expect);
        assert_eq!(found > 0, text != expect);
    }

    /// Joined at run time, so that no scanner takes this file for a leak.
    fn token(parts: &[&str]) -> String {
        parts.concat()
    }

    #[test]
    fn vendor_tokens_are_replaced_and_the_words_around_them_stay() {
        let key = token(&["AKIA", "QWERTYUIOPASDFGH"]);
        check(&format!("using key {key} in eu-west-1"), "using key [REDACTED:aws_access_key] in eu-west-1");
        let github = token(&["ghp_", &"a1B2".repeat(9)]);
        check(&format!("git clone with {github}"), "git clone with [REDACTED:github_token]");
        let openai = token(&["sk-proj-", &"Zz09".repeat(8)]);
        check(&format!("key={openai}."), "key=[REDACTED:openai_key].");
    }

    #[test]
    fn a_password_in_a_url_goes_and_user_and_host_stay() {
        check(
            "dial postgres://app:hunter22@db:5432/shop failed",
            "dial postgres://app:[REDACTED:url_password]@db:5432/shop failed",
        );
    }

    #[test]
    fn assignments_keep_the_name_of_what_was_assigned() {
        check("DB_PASSWORD=correct-horse retry=3", "DB_PASSWORD=[REDACTED:assigned_secret] retry=3");
        check(r#"{"api_key": "abcdef123456"}"#, r#"{"api_key": "[REDACTED:assigned_secret]"}"#);
    }

    #[test]
    fn a_private_key_goes_even_when_its_end_is_missing() {
        let header = token(&["-----BEGIN RSA ", "PRIVATE KEY-----"]);
        check(&format!("found {header}\nMIIE\nabc"), "found [REDACTED:private_key]");
    }

    #[test]
    fn ordinary_operations_text_is_left_alone() {
        for text in [
            "PacketResponder 1 for block blk_38865049064139660 terminating",
            "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 rolled back",
            "pod kube-system/coredns-5d78c9869d-abcde restarted 3 times",
            "password authentication failed for user \"app\"",
            "https://example.com:8443/path?x=1",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn text_that_stays_in_the_process_is_untouched() {
        let text = "DB_PASSWORD=correct-horse".to_owned();
        let cleared = Guard::new().clear(text.clone(), &Destination::in_process()).expect("allowed");
        assert_eq!(*cleared.value(), text);
    }

    #[test]
    fn clearing_twice_changes_nothing_more() {
        let (once, _) =
            cleared_for_outside("token: Bearer abcdefghijklmnop1234 password=swordfish").expect("allowed");
        let (twice, found) = cleared_for_outside(&once).expect("allowed");
        assert_eq!((twice, found), (once, 0));
    }
}
