//! Claims about the encoder, from single instructions up to whole models.
//!
//! Three oracles: the definitions in `f64` ([`definition`]), the portable twin where bits must be
//! equal, and the encoder itself where only the company of a text changes. Under Miri no CPU
//! feature is detected, so that the same claims run on the portable twin alone.

mod attention;
mod batches;
mod definition;
mod instructions;
mod model;
mod products;
mod refusals;
mod rows;
mod whole;

use proptest::test_runner::Config;

/// Runs a block once per instruction set of this CPU, with the type and the value of the set.
macro_rules! on_every_set {
    ($set:ident, $on:ident => $body:block) => {
        for $on in crate::encoder::Instructions::available() {
            match $on.0 {
                #[cfg(target_arch = "x86_64")]
                crate::encoder::instructions::Set::Avx512Bf16 => {
                    type $set = crate::encoder::avx512::Avx512<true>;
                    $body
                }
                #[cfg(target_arch = "x86_64")]
                crate::encoder::instructions::Set::Avx512 => {
                    type $set = crate::encoder::avx512::Avx512<false>;
                    $body
                }
                #[cfg(target_arch = "x86_64")]
                crate::encoder::instructions::Set::Avx2 => {
                    type $set = crate::encoder::avx2::Avx2;
                    $body
                }
                crate::encoder::instructions::Set::Portable => {
                    type $set = crate::encoder::portable::Portable;
                    $body
                }
            }
        }
    };
}
use on_every_set;

/// Fewer cases under Miri, which is a thousand times slower and has no files.
fn cases(n: u32) -> Config {
    let mut config = Config::with_cases(if cfg!(miri) { 1 } else { n });
    if cfg!(miri) {
        config.failure_persistence = None;
    }
    config
}

/// Reproducible numbers: splitmix64.
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() >> 32) as usize % n
    }

    /// `n` floats of `-size..size`.
    fn floats(&mut self, n: usize, size: f32) -> Vec<f32> {
        (0..n).map(|_| size * ((self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0)).collect()
    }
}
