//! Which instructions a packed model runs on.

use super::linear::{Kind, Packing};
use super::simd::Simd;

/// An instruction set that this CPU has. Values come from [`Instructions::detect`] and
/// [`Instructions::available`] only, so holding one proves that its instructions can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions(pub(super) Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Instructions {
    /// The fastest set of this CPU; `None` when that is the portable one, whose use are tests: a
    /// tensor library is faster.
    pub fn detect() -> Option<Self> {
        let best = Self::available()[0];
        (best.0 != Set::Portable).then_some(best)
    }

    /// Every set that can run here, fastest first; the portable one is always last.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if avx512 && is_x86_feature_detected!("avx512bf16") {
                sets.push(Set::Avx512Bf16);
            }
            if avx512 {
                sets.push(Set::Avx512);
            }
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                sets.push(Set::Avx2);
            }
        }
        sets.push(Set::Portable);
        sets.into_iter().map(Self).collect()
    }

    /// The name in logs and bench lines.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            Set::Portable => "portable",
        }
    }

    /// Whether products of bf16 numbers are instructions, not made of float products.
    pub fn has_bf16(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 => true,
            _ => false,
        }
    }

    pub(super) fn packing(self, kind: Kind) -> Packing {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 | Set::Avx512 => packing::<super::avx512::Avx512<true>>(kind),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => packing::<super::avx2::Avx2>(kind),
            Set::Portable => packing::<super::portable::Portable>(kind),
        }
    }
}

fn packing<S: Simd>(kind: Kind) -> Packing {
    let group = match kind {
        Kind::F32 => 1,
        Kind::Bf16 => 2,
        Kind::Int8 => S::CODES,
    };
    Packing { group, panel: S::VECTORS * S::LANES }
}
