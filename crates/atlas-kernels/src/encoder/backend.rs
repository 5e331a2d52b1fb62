//! The generic steps, compiled for an instruction set.

use super::portable::Portable;
use super::simd::Simd;

/// An instruction set that code can be compiled for.
pub(crate) trait Backend: Simd {
    /// Runs a step inside a function that has the features switched on. The step, and everything
    /// generic in it, must be inlined (`#[inline(always)]`, also on the closure): compiled on its
    /// own it would call each instruction as a function. Steps are coarse, thousands of cycles.
    ///
    /// # Safety
    /// The CPU has the features.
    unsafe fn perform<R>(step: impl FnOnce() -> R) -> R;
}

impl Backend for Portable {
    unsafe fn perform<R>(step: impl FnOnce() -> R) -> R {
        step()
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! backend {
    ($name:ty, $features:literal) => {
        impl Backend for $name {
            unsafe fn perform<R>(step: impl FnOnce() -> R) -> R {
                #[target_feature(enable = $features)]
                fn with_features<R>(step: impl FnOnce() -> R) -> R {
                    step()
                }
                // SAFETY: the caller vouches for the features.
                unsafe { with_features(step) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
backend!(super::avx2::Avx2, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
backend!(super::avx512::Avx512<false>, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");
#[cfg(target_arch = "x86_64")]
backend!(super::avx512::Avx512<true>, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16");
