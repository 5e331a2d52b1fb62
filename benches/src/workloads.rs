//! Texts for the embedding bench, in the lengths that the product meets.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::Random;

/// Texts that are measured together.
#[derive(Debug)]
pub struct Workload {
    /// `W1` to `W4`.
    pub name: &'static str,
    /// What they stand for.
    pub about: &'static str,
    /// No two are the same: the engine computes a repeated text once.
    pub texts: Vec<String>,
}

/// The four workloads, the same in every run. `count` counts what the model sees of a text,
/// special tokens included: lengths are in its tokens, so that rates can be compared.
pub fn workloads(count: impl Fn(&str) -> usize) -> [Workload; 4] {
    let mut writer = Writer { random: Random::new(20_261_124), count, seen: HashSet::new() };
    [
        Workload {
            name: "W1",
            about: "single queries",
            texts: (0..32).map(|_| writer.fitting(QUESTIONS, 8..=18)).collect(),
        },
        Workload {
            name: "W2",
            about: "alert lines",
            texts: (0..128).map(|_| writer.fitting(ALERTS, 17..=34)).collect(),
        },
        Workload {
            name: "W3",
            about: "runbook chunks",
            texts: (0..16).map(|_| writer.grown(199..=256)).collect(),
        },
        Workload {
            name: "W4",
            about: "mixed lengths",
            texts: (0..48).map(|n| writer.grown(if n % 2 == 0 { 3..=40 } else { 3..=256 })).collect(),
        },
    ]
}

struct Writer<C> {
    random: Random,
    count: C,
    seen: HashSet<String>,
}

impl<C: Fn(&str) -> usize> Writer<C> {
    /// One of the templates, filled so that it has this many tokens.
    fn fitting(&mut self, templates: &[&'static str], tokens: RangeInclusive<usize>) -> String {
        // Most fit at once; a tokenizer under which none does must not hang the bench.
        for _ in 0..10_000 {
            let template = self.random.one_of(templates);
            let text = self.filled(template);
            if tokens.contains(&(self.count)(&text)) && self.seen.insert(text.clone()) {
                return text;
            }
        }
        panic!("the templates give no more texts of {tokens:?} tokens");
    }

    /// Sentences up to a length within these.
    fn grown(&mut self, tokens: RangeInclusive<usize>) -> String {
        loop {
            let target = tokens.start() + self.random.below(tokens.end() - tokens.start() + 1);
            let mut words: Vec<String> = Vec::new();
            while (self.count)(&words.join(" ")) < target {
                let template = self.random.one_of(SENTENCES);
                words.extend(self.filled(template).split(' ').map(str::to_owned));
            }
            while (self.count)(&words.join(" ")) > target {
                words.pop();
            }
            let text = words.join(" ");
            if tokens.contains(&(self.count)(&text)) && self.seen.insert(text.clone()) {
                return text;
            }
        }
    }

    /// A template with its marks replaced: `@` a service, `%` a host, `#` a number.
    fn filled(&mut self, template: &str) -> String {
        let mut text = String::with_capacity(template.len() * 2);
        for letter in template.chars() {
            match letter {
                '@' => text.push_str(self.random.one_of(SERVICES)),
                '%' => {
                    text.push_str(self.random.one_of(HOSTS));
                    text.push_str(&self.random.below(40).to_string());
                }
                '#' => text.push_str(&(2 + self.random.below(998)).to_string()),
                other => text.push(other),
            }
        }
        text
    }
}

const SERVICES: &[&str] = &[
    "orders",
    "pricing-engine",
    "session-store",
    "mail-relay",
    "quota-service",
    "feed-builder",
    "geo-lookup",
    "shipment-tracker",
    "invoice-printer",
    "config-server",
    "object-gateway",
    "metrics-writer",
    "webhooks",
    "account-api",
    "fraud-scoring",
    "catalog-sync",
];

const HOSTS: &[&str] = &["node-a", "db-replica-", "worker-", "edge-fra-", "cache-", "broker-", "vm-pool-"];

const QUESTIONS: &[&str] = &[
    "which deploy made @ return errors",
    "how to take % out of rotation without dropping requests",
    "@ refuses connections after the upgrade",
    "disk of % fills up overnight",
    "what to do when @ loses its leader",
    "steps to restore @ from the last backup",
    "why do retries of @ pile up",
    "safe way to lower the memory limit of @",
    "clock of % is # seconds off",
    "@ times out when it calls @",
];

const ALERTS: &[&str] = &[
    "SEV# @ on %: share of failed requests is #.# percent for # minutes",
    "firing: @ has # restarts within an hour, last exit code #, host %",
    "@ latency objective burns # times too fast, window # minutes, since rollout #",
    "% free space below # MiB on the data volume, writer @ is throttled",
    "backlog of @ grew to # thousand items, oldest is # seconds old (%)",
    "@ cannot reach @ through %: # of # attempts timed out",
    "heartbeat of @ missing on %, silent for # seconds, # replicas left",
    "resolved after # minutes: @ on % was out of file descriptors (#)",
];

const SENTENCES: &[&str] = &[
    "Look at the request rate of @ before anything else, because most pages about it are a quiet upstream.",
    "Ask the owner of @ whether a migration is running; it holds a lock on the table for up to # minutes.",
    "On % the usual reason is a full partition: list the largest folders and move core dumps away.",
    "Set the replica count of @ back to # and let the scheduler place the new pods on other hosts.",
    "A certificate that was rotated by hand is not known to @ until it reads its configuration again.",
    "When the queue drains slower than # items a second, add a consumer rather than raising its prefetch.",
    "Never fail over while the replica is more than # seconds behind, since writes in between are lost.",
    "The graph to trust is the one made from the load balancer, not the one that @ reports about itself.",
    "Write down who was called, what was changed on %, and when the error budget stopped burning.",
    "If @ answers its health probe but not its clients, compare the number of open sockets with the limit.",
    "Turn off the feature flag first; a rollback of @ takes # minutes and needs a second pair of eyes.",
    "Memory that never comes back after the nightly job of @ is kept by its cache, which is harmless.",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Near enough: a token for each word and each mark, two around them.
    fn words(text: &str) -> usize {
        let is_mark = |letter: &char| !letter.is_alphanumeric() && !letter.is_whitespace();
        let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        2 + words.count() + text.chars().filter(is_mark).count()
    }

    #[test]
    fn workloads_are_the_same_in_every_run_and_no_text_repeats() {
        let (one, other) = (workloads(words), workloads(words));
        let mut seen = HashSet::new();
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one.texts, other.texts);
            assert!(one.texts.iter().all(|text| seen.insert(text.clone())), "{}", one.name);
        }
    }

    #[test]
    fn lengths_keep_within_what_a_workload_stands_for() {
        let made = workloads(words);
        for (workload, range) in made.iter().zip([8..=18, 17..=34, 199..=256, 3..=256]) {
            for text in &workload.texts {
                assert!(range.contains(&words(text)), "{}: {} in {text:?}", workload.name, words(text));
            }
        }
    }
}
