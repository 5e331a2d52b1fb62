use atlas_domain::RecordId;
use proptest::prelude::*;

use super::Tree;

/// The shapes of the templates, by line, once all lines are placed.
fn grouped(shapes: &[&str]) -> Vec<String> {
    let mut tree = Tree::default();
    let placed: Vec<usize> = shapes.iter().map(|shape| tree.place(shape).number).collect();
    placed.into_iter().map(|number| tree.shape(tree.whole(number))).collect()
}

#[track_caller]
fn check(shapes: &[&str], expect: &[&str]) {
    let mut found = grouped(shapes);
    found.dedup();
    assert_eq!(found, expect);
}

#[test]
fn values_of_different_kinds_are_one_template() {
    check(&["button report <hex> sent", "button report <num> sent"], &["button report <*> sent"]);
    check(&["from <ip> (<host>) now", "from <ip> () now"], &["from <ip> (<*>) now"]);
    check(&["host=<num>-<id>.example.net gone", "host=<host> gone"], &["host=<*> gone"]);
}

#[test]
fn a_word_among_values_is_a_value_if_it_is_all_that_differs() {
    check(&["exit code was <num> today", "exit code was unknown today"], &["exit code was <*> today"]);
    check(
        &["exit code was <num> on <ip> today", "exit code was unknown on <host> today"],
        &["exit code was <num> on <ip> today", "exit code was unknown on <host> today"],
    );
    // Too short to know that it is the same statement.
    check(&["took <num>", "took nothing"], &["took <num>", "took nothing"]);
}

#[test]
fn states_stay_apart() {
    let states =
        ["VM started on <host>", "VM stopped on <host>", "VM paused on <host>", "VM resumed on <host>"];
    check(&states, &states);
    check(&["rx=<num> bytes lost", "tx=<num> bytes lost"], &["rx=<num> bytes lost", "tx=<num> bytes lost"]);
}

#[test]
fn so_many_names_in_one_place_are_values() {
    let jobs = ["com.a.One", "com.a.Two", "com.b.One", "org.c.X", "org.d.Y"];
    let shapes: Vec<String> = jobs.iter().map(|job| format!("{job}: ready to run")).collect();
    let shapes: Vec<&str> = shapes.iter().map(String::as_str).collect();
    check(&shapes[..4], &shapes[..4]);
    check(&shapes, &["<*>: ready to run"]);
}

#[test]
fn so_many_words_in_one_place_are_values_and_the_oldest_takes_the_others_in() {
    let words =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].map(|word| format!("job {word} is done"));
    let mut tree = Tree::default();
    let placed: Vec<usize> = words.iter().map(|shape| tree.place(shape).number).collect();
    assert_eq!(placed, (0..11).collect::<Vec<_>>());
    let last = tree.place("job l is done");
    assert_eq!((last.number, last.took_in), (0, (1..11).collect::<Vec<_>>()));
    assert_eq!((tree.whole(7), tree.shape(0)), (0, "job <*> is done".to_owned()));
    assert_eq!(tree.place("job m is done").number, 0);
    assert_eq!(tree.place("job h is done").number, 0);
}

#[test]
fn fields_of_a_line_without_spaces_are_not_one_value() {
    let shapes = [
        r#"{"level":"info","code":<num>,"msg":"up"} end of entry"#,
        r#"{"level":"warn","code":<id>,"msg":"down"} end of entry"#,
    ];
    check(&shapes, &shapes);
}

#[test]
fn an_id_outlives_the_shape_it_was_made_of() {
    let mut tree = Tree::default();
    let first = tree.place("button report <hex> sent").number;
    let id = tree.id(first).clone();
    assert_eq!(tree.place("button report <num> sent").number, first);
    assert_eq!((tree.id(first), tree.shape(first).as_str()), (&id, "button report <*> sent"));
}

#[test]
fn a_restored_tree_places_what_the_first_one_would() {
    let seen = [
        "button report <hex> sent",
        "button report <num> sent",
        "pool empty on <host>",
        "com.a.One: ready to run",
        "com.a.Two: ready to run",
        "com.b.One: ready to run",
        "com.b.Two: ready to run",
        "com.c.One: ready to run",
    ];
    let mut tree = Tree::default();
    seen.iter().for_each(|shape| drop(tree.place(shape)));
    let mut restored = Tree::default();
    for number in (0..6).filter(|number| tree.whole(*number) == *number) {
        restored.restore(tree.id(number).clone(), &tree.shape(number));
    }
    for shape in seen.iter().copied().chain(["button report <id> sent", "org.x.Y: ready to run"]) {
        let (a, b) = (tree.place(shape).number, restored.place(shape).number);
        assert_eq!(tree.id(tree.whole(a)), restored.id(b), "{shape}");
    }
}

#[test]
fn what_is_no_log_shares_one_template_in_the_end() {
    let mut tree = Tree::default();
    let words =
        |n: usize| n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>();
    let mut last = None;
    for n in 0..20_050 {
        last = Some(tree.place(&format!("{} {}", words(n), words(n * 7))).number);
    }
    assert_eq!(last.map(|last| tree.shape(last)).as_deref(), Some("<*>"));
}

proptest! {
    #[test]
    fn any_shapes_are_placed_and_placed_again_alike(
        shapes in prop::collection::vec("(<num>|<id>|<[*]>|ab|[a-c=,é<>* ]){0,6}", 1..40),
    ) {
        let mut tree = Tree::default();
        shapes.iter().for_each(|shape| drop(tree.place(shape)));
        let ids: Vec<RecordId> =
            shapes.iter().map(|shape| { let number = tree.place(shape).number; tree.id(number).clone() }).collect();
        let again: Vec<RecordId> =
            shapes.iter().map(|shape| { let number = tree.place(shape).number; tree.id(number).clone() }).collect();
        prop_assert_eq!(ids, again);
    }
}
