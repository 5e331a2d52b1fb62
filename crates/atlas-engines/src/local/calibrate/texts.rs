//! Texts like those of an on-call team: what smoothing is calibrated on when nobody has others.
//!
//! Generated, so that they cover lengths and kinds evenly, and belong to nobody. The order of the
//! draws is part of the shipped factors: a change here wants a new `smoothing.safetensors`.

const SERVICES: [&str; 16] = [
    "checkout",
    "payment-gateway",
    "inventory",
    "search-api",
    "user-profile",
    "ingest-worker",
    "etcd",
    "kube-apiserver",
    "coredns",
    "postgres-primary",
    "redis-cache",
    "kafka-broker-2",
    "nginx-ingress",
    "rabbitmq",
    "vault",
    "billing-cron",
];
const FAULTS: [&str; 14] = [
    "the disk is almost full",
    "p99 latency is above two seconds",
    "connections are refused",
    "the certificate expires in three days",
    "replication lag keeps growing",
    "pods restart in a loop",
    "memory grows until the kernel kills the process",
    "requests time out behind the load balancer",
    "the queue is no longer drained",
    "name resolution fails now and then",
    "the clock drifted by four minutes",
    "a node does not answer its health check",
    "writes fail with a read-only file system",
    "too many open files",
];
const CAUSES: [&str; 12] = [
    "a deploy twenty minutes earlier",
    "a changed feature flag",
    "an expired token",
    "a full table scan after a dropped index",
    "a noisy neighbour on the same host",
    "a network partition between two zones",
    "a retry storm from the mobile clients",
    "a batch job that started early",
    "a rolled back migration",
    "garbage collection pauses",
    "a wrong resource limit in the chart",
    "an upgrade of the base image",
];
const STEPS: [&str; 16] = [
    "Look at the dashboard of the service and compare the error rate with the hour before the alert.",
    "Run `kubectl describe pod` on one of the failing pods and read the events at the bottom.",
    "If the volume is above ninety percent, delete rotated logs first, then ask for a larger one.",
    "Check whether a deploy is in progress; roll it back before you look any further.",
    "Drain the node with `kubectl drain --ignore-daemonsets` and let the scheduler move its pods.",
    "Fail over to the replica only when the lag is below ten seconds, otherwise writes are lost.",
    "Raise the connection limit by a quarter and watch the memory of the database for ten minutes.",
    "Renew the certificate by hand if the controller has not done so within the last day.",
    "Silence the alert for one hour and open a ticket for the team that owns the queue.",
    "Restart the consumers one at a time: a full restart rebalances every partition at once.",
    "Find the slowest statements in pg_stat_statements and explain the first three.",
    "Take a heap dump before the restart, or the evidence is gone.",
    "Page the network team when packet loss between the zones is above one percent.",
    "Do not delete the persistent volume claim; the data goes with it.",
    "Scale the deployment to twice its replicas if the processor is above eighty percent.",
    "Write down when it began, what was tried, and what helped, while it is fresh.",
];
const LEVELS: [&str; 5] = ["INFO", "WARN", "ERROR", "DEBUG", "FATAL"];
const MESSAGES: [&str; 10] = [
    "dial tcp 10.42.{a}.{b}:5432: connect: connection refused",
    "request id={h} took {n}ms, status=503, upstream=10.0.{a}.{b}",
    "java.lang.OutOfMemoryError: Java heap space at com.example.orders.Cache.put(Cache.java:{n})",
    "Failed to mount volume pvc-{h}: timed out waiting for the condition",
    "block blk_{n}{n} replicated to 10.251.{a}.{b}, size 67108864",
    "{\"event\":\"login_failed\",\"user\":\"u{n}\",\"ip\":\"172.16.{a}.{b}\",\"attempt\":{a}}",
    "leader election lost, term {n}; stepping down",
    "GET /api/v2/orders/{h}?page={a} HTTP/1.1\" 200 {n} \"-\" \"curl/8.5.0\"",
    "slow query ({n} ms): SELECT * FROM events WHERE tenant_id = {a} ORDER BY created_at DESC",
    "panic: runtime error: index out of range [{a}] with length {b}\ngoroutine {n} [running]:",
];
const ALERTS: [&str; 8] = [
    "DiskWillFillIn4Hours",
    "HighErrorRate",
    "KubePodCrashLooping",
    "TargetDown",
    "CertificateExpiresSoon",
    "ReplicationLagTooHigh",
    "QueueBacklogGrowing",
    "NodeNotReady",
];

/// Draws of a linear congruential generator: the same on every machine.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// Some hundred texts of 5 to 256 tokens and beyond: questions, alerts, log lines, runbooks.
pub fn calibration_texts() -> Vec<String> {
    let mut draws = Draws(42);
    (0..480)
        .map(|number| match number % 6 {
            0 => question(&mut draws),
            1 => alert(&mut draws),
            2 => log_line(&mut draws),
            3 => {
                let n = 2 + draws.below(8);
                (0..n).map(|_| log_line(&mut draws)).collect::<Vec<_>>().join("\n")
            }
            4 => postmortem(&mut draws),
            _ => runbook(&mut draws),
        })
        .collect()
}

fn question(draws: &mut Draws) -> String {
    let (service, fault) = (draws.of(&SERVICES), draws.of(&FAULTS));
    match draws.below(4) {
        0 => format!("{service} {fault}"),
        1 => format!("What do I do when {fault} on {service}?"),
        2 => format!("why does {service} fail after {}", draws.of(&CAUSES)),
        _ => format!("{service} runbook"),
    }
}

fn alert(draws: &mut Draws) -> String {
    let (name, service, fault) = (draws.of(&ALERTS), draws.of(&SERVICES), draws.of(&FAULTS));
    let severity = draws.of(&["critical", "warning", "info"]);
    let percent = draws.below(100);
    format!(
        "[{severity}] {name}: {fault} on {service}-{} in eu-west-{} (current value {percent}.{}%).",
        draws.below(9),
        1 + draws.below(3),
        draws.below(10)
    )
}

fn log_line(draws: &mut Draws) -> String {
    let hex = format!("{:08x}", draws.below(1 << 31));
    let [a, b, n] = [256, 256, 30_000].map(|limit| draws.below(limit).to_string());
    let message =
        draws.of(&MESSAGES).replace("{h}", &hex).replace("{a}", &a).replace("{b}", &b).replace("{n}", &n);
    let (hour, minute, second) = (draws.below(24), draws.below(60), draws.below(60));
    format!(
        "2026-03-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z {} {}: {message}",
        1 + draws.below(28),
        draws.below(1000),
        draws.of(&LEVELS),
        draws.of(&SERVICES)
    )
}

fn postmortem(draws: &mut Draws) -> String {
    let (service, fault, cause) = (draws.of(&SERVICES), draws.of(&FAULTS), draws.of(&CAUSES));
    let minutes = 5 + draws.below(240);
    let mut text = format!(
        "For {minutes} minutes customers of {service} saw errors: {fault}. The cause was {cause}, \
         and it was found late because the alert {} had been silenced.",
        draws.of(&ALERTS)
    );
    for _ in 0..draws.below(6) {
        let (service, fault) = (draws.of(&SERVICES), draws.of(&FAULTS));
        text.push_str(&format!(" At the same time {fault} on {service}, which {} explains.", {
            draws.of(&CAUSES)
        }));
    }
    text
}

fn runbook(draws: &mut Draws) -> String {
    let mut text = format!("## {}\n\n### Meaning\n\nOn {}, ", draws.of(&ALERTS), draws.of(&SERVICES));
    text.push_str(draws.of(&FAULTS));
    text.push_str(".\n\n### Mitigation\n");
    for step in 1..=1 + draws.below(12) {
        text.push_str(&format!("\n{step}. {}", draws.of(&STEPS)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_the_same_every_time_and_of_many_lengths() {
        let texts = calibration_texts();
        assert_eq!(texts, calibration_texts());
        let lengths = texts.iter().map(|text| text.split_whitespace().count());
        assert!(lengths.clone().min() <= Some(3) && lengths.max() >= Some(150));
        assert!(texts.iter().all(|text| !text.contains("{a}") && !text.contains("{n}")));
    }
}
