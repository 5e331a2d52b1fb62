//! Progress of long work, on standard error and only where a person watches.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `total` steps, or an invisible one when standard error is no terminal.
pub(crate) fn bar(total: usize, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {per_sec} {eta} left")
        .expect("a constant template")
        .progress_chars("=> ");
    ProgressBar::new(total as u64).with_style(style).with_message(what)
}
