use atlas_domain::Timestamp;

use super::read::lines as read_lines;
use super::{LogLine, level, mask, time};
use crate::error::FeatureError;

#[track_caller]
fn check_shape(message: &str, expect: &str) {
    assert_eq!(mask::shape(message), expect, "{message}");
}

#[test]
fn what_varies_becomes_a_typed_placeholder() {
    for (message, expect) in [
        ("took 12 attempts", "took <num> attempts"),
        ("took 12ms, 3.5s and 1h2m3s for 1,234 bytes", "took <num>, <num> and <num> for <num> bytes"),
        ("heap 512MiB of 2GiB (25%)", "heap <num> of <num> (<num>)"),
        ("delta -42 and +7 and 1.5e-05", "delta <num> and <num> and <num>"),
        ("connect 10.0.3.17:5432 refused", "connect <ip> refused"),
        ("peer fe80::1ff:fe23:4567:890a gone", "peer <ip> gone"),
        ("subnet 10.0.0.0/16 added", "subnet <ip> added"),
        ("src: /10.250.19.102:54106 dest: /10.250.19.102:50010", "src: /<ip> dest: /<ip>"),
        ("request 550e8400-e29b-41d4-a716-446655440000 done", "request <uuid> done"),
        ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "commit <hex>"),
        ("fault at 0x7ffe12ab", "fault at <hex>"),
        ("cannot open /var/lib/app/data.db: gone", "cannot open <path>: gone"),
        ("cannot open C:\\temp\\x9.log", "cannot open <path>"),
        ("GET https://shop.example/api/v2/orders failed", "GET <url> failed"),
        ("mail to jo.doe7@example.org bounced", "mail to <id> bounced"),
        ("at 2017-05-16 00:00:00.008 and 2024-05-01T10:00:00Z", "at <time> and <time>"),
        ("since Fri Jun 17 07:07:00 2005 and Jun  4 15:16:01", "since <time> and <time>"),
        ("client 10.0.3.17 behind 10.0.3.18,10.0.3.19", "client <ip> behind <ip>"),
        ("neighbour 0c:42:a1:07:d6:1c on en0:fe80::1ff:fe23:4567:890a", "neighbour <mac> on en0:<ip>"),
        ("lost node-3.rack1.example.net and db.example.net:5432", "lost <host> and <host>"),
        ("GET /v2/7f/servers/?all=True&since=2020-01-01 HTTP/1.1", "GET <path> HTTP/<num>"),
        ("event plugged:550e8400-e29b-41d4-a716-446655440000", "event plugged:<uuid>"),
    ] {
        check_shape(message, expect);
    }
}

#[test]
fn made_up_names_keep_what_a_person_gave_and_lose_what_a_machine_gave() {
    for (message, expect) in [
        ("Received block blk_-1608999687919862906 of size 91178", "Received block blk_<id> of size <num>"),
        ("pod checkout-7d9f8b6c5-x2x9z restarted", "pod checkout-<id> restarted"),
        ("worker-3 of pool http-8080 idle", "worker-<num> of pool http-<num> idle"),
        ("sshd[19939]: session closed", "sshd[<num>]: session closed"),
        ("HTTP/1.1 503 in 4/10 tries", "HTTP/<num> <num> in <num>/<num> tries"),
    ] {
        check_shape(message, expect);
    }
}

#[test]
fn the_value_of_an_id_key_is_an_id_whatever_it_looks_like() {
    for (message, expect) in [
        ("order_id=A17 amount=12", "order_id=<id> amount=<num>"),
        ("order_id=anna amount=12", "order_id=<id> amount=<num>"),
        ("user id: anna logged in", "user id: <id> logged in"),
        (r#"{"traceId":"abc","status":"ok"}"#, r#"{"traceId":"<id>","status":"ok"}"#),
        ("req_id:zz9 done", "req_id:<id> done"),
        ("rhost=gateway user=anna", "rhost=<id> user=anna"),
        ("session closed for user anna", "session closed for user <id>"),
        (
            "Failed password for invalid user bob from 10.0.0.9",
            "Failed password for invalid user <id> from <ip>",
        ),
    ] {
        check_shape(message, expect);
    }
}

#[test]
fn names_and_prose_stay_as_they_are() {
    for message in [
        "connection pool exhausted",
        "ipv4 and http2 and v1beta1 and p99",
        "GET /healthz returned",
        "upstream answered 5xx",
        "user=anna denied",
        "user login failed",
        "org.apache.hadoop.dfs.DataNode started",
        "größe überschritten – naïve",
        "and/or either: no",
    ] {
        check_shape(message, message);
    }
}

#[test]
fn lines_that_say_the_same_have_one_shape() {
    let shapes = |lines: &[&str]| {
        let mut shapes: Vec<String> = lines.iter().map(|line| mask::shape(line)).collect();
        shapes.dedup();
        shapes
    };
    let same = shapes(&[
        "PacketResponder 1 for block blk_38865049064139660 terminating",
        "PacketResponder 0 for block blk_-6952295868487656571 terminating",
    ]);
    assert_eq!(same.len(), 1, "{same:?}");
    let same = shapes(&["a  b\tc 1\nsecond line 1", "  a b c 2 \nanother line"]);
    assert_eq!(same.len(), 1, "{same:?}");
}

#[test]
fn a_list_has_one_shape_however_long_it_is() {
    for (message, expect) in [
        ("delete blk_-1608999687919 blk_3886504906413 blk_695229586848", "delete blk_<id>..."),
        ("delete blk_-1608999687919 blk_3886504906413", "delete blk_<id> blk_<id>"),
        ("ports [80, 443, 8080, 9090] open", "ports [<num>...] open"),
        ("codes 1,234,5 and 7 8 9", "codes <num> and <num>..."),
        ("a 1 b 2 c 3", "a <num> b <num> c <num>"),
        ("1 2 3-old", "<num> <num> <num>-old"),
    ] {
        check_shape(message, expect);
    }
}

#[test]
fn any_bytes_make_a_bounded_shape() {
    for message in [
        "",
        " ",
        "\u{1F600}9\u{1F600}",
        ":::",
        "//",
        "-",
        "=",
        "a=",
        "-9",
        "@1@",
        "\\9\\",
        "é".repeat(5000).as_str(),
    ] {
        assert!(mask::shape(message).len() <= 1_000, "{message:?}");
    }
    let long = "word 17 ".repeat(1_000);
    assert!(mask::shape(&long).len() <= 1_000);
}

fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().expect("a time")
}

#[track_caller]
fn check_time(line: &str, expect: Option<(&str, &str)>) {
    let found = time::detect(line, now()).map(|(at, end)| (at.to_string(), line[end..].to_owned()));
    assert_eq!(found, expect.map(|(at, rest)| (at.to_owned(), rest.to_owned())), "{line}");
}

#[test]
fn common_heads_of_lines_are_read() {
    for (line, at, rest) in [
        ("2024-05-01T10:00:00Z up", "2024-05-01T10:00:00Z", " up"),
        ("2024-05-01T10:00:00.250+02:00 up", "2024-05-01T08:00:00.25Z", " up"),
        ("2017-05-16 00:00:00.008 25746 INFO", "2017-05-16T00:00:00.008Z", " 25746 INFO"),
        ("2015-10-18 18:01:47,978 INFO [main]", "2015-10-18T18:01:47.978Z", " INFO [main]"),
        ("2024/05/01 10:00:00 [error] 7#7", "2024-05-01T10:00:00Z", " [error] 7#7"),
        ("081109 203615 148 INFO", "2008-11-09T20:36:15Z", " 148 INFO"),
        ("[Sun Dec 04 04:47:44 2005] [notice] up", "2005-12-04T04:47:44Z", " [notice] up"),
        ("[2024-05-01 10:00:00] up", "2024-05-01T10:00:00Z", " up"),
        ("Apr 14 15:16:01 combo sshd", "2026-04-14T15:16:01Z", " combo sshd"),
        ("Apr  4 15:16:01 combo sshd", "2026-04-04T15:16:01Z", " combo sshd"),
        ("03-17 16:13:38.811  1702 D", "2026-03-17T16:13:38.811Z", "  1702 D"),
    ] {
        check_time(line, Some((at, rest)));
    }
}

#[test]
fn a_date_without_a_year_is_the_last_one_that_is_past() {
    check_time("Jun 14 15:16:01 x", Some(("2025-06-14T15:16:01Z", " x")));
    check_time("Feb 29 00:00:00 x", Some(("2024-02-29T00:00:00Z", " x")));
    // A sender whose clock is ahead by less than a day.
    check_time("May  1 23:00:00 x", Some(("2026-05-01T23:00:00Z", " x")));
}

#[test]
fn what_is_no_time_is_left_alone() {
    for line in [
        "",
        "[",
        "no time",
        "2024-13-01T10:00:00Z x",
        "2024-05-01",
        "Jun 99 15:16:01",
        "123456 7890123 x",
        "99-99 99:99:99",
    ] {
        check_time(line, None);
    }
}

#[test]
fn a_level_is_read_where_it_cannot_be_prose() {
    for (line, expect) in [
        ("25746 INFO nova.osapi", Some("info")),
        ("148 WARN dfs.DataNode", Some("warn")),
        ("[error] 7#7 connect() failed", Some("error")),
        ("level=warning msg=x", Some("warn")),
        (r#"{"level":"fatal"}"#, Some("fatal")),
        ("error: no such file", Some("error")),
        ("CRITICAL disk", Some("fatal")),
        ("an error occurred and we warn you", None),
        ("user-info: fine", None),
        ("error_count: 4", None),
    ] {
        assert_eq!(level::detect(line), expect, "{line}");
    }
}

fn line(message: &str) -> LogLine {
    LogLine { message: message.into(), ..LogLine::default() }
}

#[test]
fn a_repeated_line_is_kept_and_a_resent_batch_has_the_same_ids() {
    let batch = || vec![line("2024-05-01T10:00:00Z tick"), line("2024-05-01T10:00:00Z tick")];
    let ids = |lines| -> Vec<_> {
        read_lines(lines, now()).expect("good lines").into_iter().map(|line| line.id).collect()
    };
    let first = ids(batch());
    assert_ne!(first[0], first[1]);
    assert_eq!(first, ids(batch()));
}

#[test]
fn the_head_of_a_line_is_no_part_of_its_template_and_the_line_is_kept_whole() {
    let read = read_lines(
        vec![line("2024-05-01T10:00:00Z ERROR pool empty"), line("May  1 10:00:00 ERROR pool empty")],
        now(),
    )
    .expect("good lines");
    assert_eq!(read[0].shape, read[1].shape);
    assert_eq!(read[0].message, "2024-05-01T10:00:00Z ERROR pool empty");
    assert_eq!(read[0].level.as_deref(), Some("error"));
}

#[test]
fn a_blank_line_is_named_and_nothing_is_read() {
    let error = read_lines(vec![line("x"), line(" \n")], now()).err().expect("refused");
    assert!(matches!(&error, FeatureError::Invalid { field, .. } if field == "lines[1].message"), "{error}");
}

#[test]
fn given_time_and_level_win_over_the_text() {
    let at: Timestamp = "2020-01-01T00:00:00Z".parse().expect("a time");
    let given =
        LogLine { at: Some(at), level: Some("Warning".into()), ..line("2024-05-01T10:00:00Z ERROR x") };
    let read = read_lines(vec![given], now()).expect("good lines");
    assert_eq!((read[0].at, read[0].level.as_deref()), (at, Some("warn")));
}
