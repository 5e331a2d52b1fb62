//! Decides what text may leave, and for where. The only maker of [`Cleared`].
//!
//! Providers and engines accept nothing but `Cleared` values, so a call site that forgets the
//! guard does not compile. The candidate destination is chosen first and the text is cleared for
//! it; another candidate needs another clearing.
//!
//! Not here: which sockets may be opened. That is `atlas-http`, which checks addresses.

mod cleared;
mod secrets;

pub use cleared::{Cleared, Guard, GuardError, Redactions, Texts};
