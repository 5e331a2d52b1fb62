//! One folder per chat provider.
