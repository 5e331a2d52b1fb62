//! The program `atlasai-tp`. Everything is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    atlas_server::cli::main()
}
