//! Decides what text may leave for which destination; the only maker of Cleared.
