//! Random bits from the operating system.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

/// 32 hexadecimal digits that nobody can guess, for a credential.
pub(crate) fn token() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    }))
}

/// A name for a request: distinct, and no secret. std keys its hash maps from the system's random
/// source; the counter makes ids of one process differ.
pub(crate) fn request_id() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}", RandomState::new().hash_one(MADE.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_distinct() {
        let (a, b) = (token().expect("the system has random bits"), token().expect("and more"));
        assert_eq!((a.len(), b.len()), (32, 32));
        assert_ne!(a, b);
    }
}
