//! How fast the instructions of a matrix product are: the roof of every bench.

use std::hint::black_box;
use std::time::Instant;

use super::backend::Backend;
use super::instructions::{Instructions, Set};
use super::linear::Kind;
use super::numbers::{Bf16, F32, Int8, Numbers};
use super::portable::Portable;

/// Sums in flight, `LEFT` by `RIGHT`: more than the latency of any instruction asks for, and
/// with their operands no more than AVX2 has registers.
const LEFT: usize = 6;
const RIGHT: usize = 2;

/// Steps of a measurement, some milliseconds.
const STEPS: usize = 1_000_000;

/// Multiplications and additions per second of one thread that multiplies registers and does
/// nothing else, the best of a few measurements.
pub fn peak(instructions: Instructions, kind: Kind) -> f64 {
    // SAFETY: `Instructions` exist only where the CPU has them.
    unsafe {
        match instructions.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 => of_kind::<super::avx512::Avx512<true>>(kind),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => of_kind::<super::avx512::Avx512<false>>(kind),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => of_kind::<super::avx2::Avx2>(kind),
            Set::Portable => of_kind::<Portable>(kind),
        }
    }
}

/// # Safety
/// The CPU has the features of the back end.
unsafe fn of_kind<B: Backend>(kind: Kind) -> f64 {
    // SAFETY: of the caller.
    unsafe {
        match kind {
            Kind::F32 => best::<B, F32>(),
            Kind::Bf16 => best::<B, Bf16>(),
            Kind::Int8 => best::<B, Int8>(),
        }
    }
}

/// # Safety
/// The CPU has the features of the back end.
unsafe fn best<B: Backend, N: Numbers<B>>() -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let began = Instant::now();
        // SAFETY: of the caller.
        unsafe {
            B::perform(
                #[inline(always)]
                || multiply::<B, N>(),
            );
        }
        best = best.min(began.elapsed().as_secs_f64());
    }
    (2 * N::GROUP * B::LANES * LEFT * RIGHT * STEPS) as f64 / best
}

/// # Safety
/// As for [`super::simd::Simd`].
#[inline(always)]
unsafe fn multiply<B: Backend, N: Numbers<B>>() {
    // SAFETY: of the caller; the buffers hold a register.
    unsafe {
        // Ones as floats, as bf16 and, well enough, as codes.
        let words = black_box([0x3f80_3f80u32; 16 * RIGHT]);
        let mut right = [B::zero(); RIGHT];
        for (number, right) in right.iter_mut().enumerate() {
            *right = B::load(words.as_ptr().add(16 * number));
        }
        let mut sums = [[B::zero(); RIGHT]; LEFT];
        for _ in 0..STEPS {
            for sums in &mut sums {
                // Read in every step: the same product twice would be computed once.
                let left = black_box(&words).as_ptr();
                let left = B::load(left);
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = N::dot(*sum, left, right);
                }
            }
        }
        let mut out = [0u32; 16];
        for sum in sums.as_flattened() {
            B::store(out.as_mut_ptr(), *sum);
            black_box(&out);
        }
    }
}
