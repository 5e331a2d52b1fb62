use proptest::prelude::*;

use super::*;

/// One token per word; long words cost more, as they do in word pieces.
struct Words;

impl TokenCounter for Words {
    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().map(|word| word.chars().count().div_ceil(16)).sum()
    }

    fn max_tokens(&self) -> usize {
        256
    }
}

fn pieces(title: &str, markdown: &str, budget: usize) -> Vec<(String, String)> {
    split(title, markdown, &Words, budget).into_iter().map(|piece| (piece.heading, piece.text)).collect()
}

#[track_caller]
fn check(title: &str, markdown: &str, budget: usize, expect: &[(&str, &str)]) {
    let found = pieces(title, markdown, budget);
    let found: Vec<(&str, &str)> =
        found.iter().map(|(heading, text)| (heading.as_str(), text.as_str())).collect();
    assert_eq!(found, expect);
}

fn words(first: &str) -> String {
    format!("{first} {}", "word ".repeat(20)).trim_end().to_owned()
}

#[test]
fn a_heading_starts_a_passage_and_the_path_names_it() {
    let (one, two, three) = (words("one"), words("two"), words("three"));
    let markdown = format!("{one}\n\n## A\n\n{two}\n\n### B\n\n{three}\n");
    check(
        "T",
        &markdown,
        60,
        &[("T", &one), ("T > A", &format!("## A\n\n{two}")), ("T > A > B", &format!("### B\n\n{three}"))],
    );
}

#[test]
fn the_title_repeated_as_first_heading_is_not_in_the_path_twice() {
    let text = words("one");
    let markdown = format!("# KubePodCrashLooping\n\n## Meaning\n\n{text}");
    check("Kube Pod Crash Looping", &markdown, 200, &[("Kube Pod Crash Looping > Meaning", &markdown)]);
}

#[test]
fn short_sections_keep_their_own_anchors() {
    let markdown = "# T\n\n## Meaning\n\nIt is down.\n\n## Impact\n\nNobody can pay.\n";
    check(
        "T",
        markdown,
        60,
        &[
            ("T > Meaning", "# T\n\n## Meaning\n\nIt is down."),
            ("T > Impact", "## Impact\n\nNobody can pay."),
        ],
    );
}

#[test]
fn a_heading_without_text_begins_the_next_passage() {
    let text = words("one");
    let markdown = format!("## Diagnosis\n\n### First look\n\n{text}");
    check("T", &markdown, 60, &[("T > Diagnosis > First look", &markdown)]);
}

#[test]
fn a_heading_at_the_end_belongs_to_the_passage_before_it() {
    let text = words("one");
    let markdown = format!("{text}\n\n## See also\n");
    check("T", &markdown, 60, &[("T", markdown.trim_end())]);
}

#[test]
fn a_code_block_is_never_split() {
    let code = format!("```shell\n{}```", "kubectl get pods -A | grep -v Running\n".repeat(20));
    let markdown = format!("Before it.\n\n{code}\n\nAfter it.");
    check("T", &markdown, 20, &[("T", "Before it."), ("T", &code), ("T", "After it.")]);
}

#[test]
fn a_code_block_inside_a_list_is_never_split() {
    let code = format!("  ```\n{}  ```", "  one two three four five\n".repeat(10));
    let markdown = format!("- first do this\n\n{code}\n\n- then that\n");
    let found = pieces("", &markdown, 16);
    assert!(found.iter().any(|(_, text)| text.contains(code.trim())), "{found:#?}");
}

#[test]
fn list_items_and_table_rows_stay_whole() {
    let items: Vec<String> = (0..6).map(|n| format!("- item {n} has seven words in it")).collect();
    let found = pieces("", &items.join("\n"), 20);
    assert!(found.len() > 1);
    assert!(
        found.iter().flat_map(|(_, text)| text.lines()).all(|line| items.iter().any(|item| item == line))
    );

    let rows: Vec<String> = (0..9).map(|n| format!("| row {n} | value of the row |")).collect();
    let found = pieces("", &format!("| a | b |\n|---|---|\n{}", rows.join("\n")), 24);
    assert!(found.len() > 1);
    assert!(
        found
            .iter()
            .flat_map(|(_, text)| text.lines())
            .skip(2)
            .all(|line| rows.iter().any(|row| row == line))
    );
}

#[test]
fn a_long_paragraph_is_cut_between_sentences() {
    let found = pieces("", "One two three four. Five six seven eight. Nine ten eleven twelve.", 9);
    let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["One two three four. Five six seven eight.", "Nine ten eleven twelve."]);
}

#[test]
fn a_long_sentence_is_cut_between_words() {
    let sentence = "word ".repeat(50);
    let found = pieces("", &sentence, 10);
    assert!(found.iter().all(|(_, text)| Words.count_tokens(text) <= 10), "{found:?}");
}

#[test]
fn a_text_without_spaces_is_cut_between_characters() {
    let found = pieces("", &"漢".repeat(2_000), 10);
    assert!(found.len() > 1);
    assert!(found.iter().all(|(_, text)| Words.count_tokens(text) <= 10));
}

#[test]
fn blank_documents_have_no_passages() {
    for blank in ["", " ", "\n\n\t\n"] {
        check("T", blank, 10, &[]);
    }
}

fn markdown() -> impl Strategy<Value = String> {
    let block = prop_oneof![
        "#{1,4} [a-z]{1,8}( [a-z]{1,8}){0,3}",
        "[a-zA-Z,.é漢 ]{0,200}",
        "[a-z]{1,300}",
        "(- [a-z ]{1,60}\n){1,5}",
        "```\n([a-z ]{0,40}\n){0,12}```",
        "- [a-z]{1,5}\n\n  ```\n(  [a-z ]{1,40}\n){1,8}  ```",
        "\\| a \\| b \\|\n\\|---\\|---\\|\n(\\| [a-z]{1,9} \\| [a-z ]{1,30} \\|\n){1,8}",
        "> [a-z ]{1,90}\n> [a-z ]{1,90}",
        "(    [a-z ]{1,30}\n){1,4}",
        "\\[[a-z]{1,5}\\]: https://example.com/[a-z]{1,8}",
        "[a-z]{1,9}\n(===|---)",
        "<div>\n[a-z ]{1,30}\n</div>",
        "[\\PC\n]{0,60}",
    ];
    prop::collection::vec(block, 0..12).prop_map(|blocks| blocks.join("\n\n"))
}

fn not_blank(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

proptest! {
    #[test]
    fn no_text_is_lost_or_reordered(markdown in markdown(), budget in 8usize..80) {
        let found: String = pieces("Title", &markdown, budget).into_iter().map(|(_, text)| text).collect();
        prop_assert_eq!(not_blank(&found), not_blank(&markdown));
    }

    #[test]
    fn passages_without_code_keep_to_the_budget(markdown in markdown(), budget in 16usize..80) {
        for piece in split("Title", &markdown, &Words, budget) {
            let long_heading = Words.count_tokens(&piece.heading) > budget / 2;
            let has_code = piece.text.contains("```") || piece.text.contains("    ") || piece.text.contains('\t');
            let has_heading = piece.text.lines().any(|line| line.starts_with('#') || line.starts_with("===") || line.starts_with("---"));
            if !long_heading && !has_code && !has_heading {
                let n_tokens = Words.count_tokens(&embedded_text(&piece.heading, &piece.text));
                prop_assert!(n_tokens <= budget, "{n_tokens} > {budget}: {piece:?}");
            }
        }
    }

    #[test]
    fn every_passage_is_a_range_of_the_document(markdown in markdown(), budget in 8usize..80) {
        for (_, text) in pieces("Title", &markdown, budget) {
            prop_assert!(markdown.contains(&text));
        }
    }
}
