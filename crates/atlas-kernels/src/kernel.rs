//! Which instruction set to use.

use std::sync::OnceLock;

use crate::portable;

/// An instruction set that this CPU has. Values come from [`Kernel::detect`] and
/// [`Kernel::available`] only, so holding one proves that its instructions can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(pub(crate) Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Kernel {
    /// The fastest one of this CPU; asked once per process.
    pub fn detect() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// Every kernel that can run here, fastest first; the portable one is always last.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let vnni = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 && vnni {
                sets.push(Set::Avx512Vnni);
            }
            if avx2 {
                sets.push(Set::Avx2);
            }
        }
        // NEON belongs to the aarch64 base line.
        #[cfg(target_arch = "aarch64")]
        sets.push(Set::Neon);
        sets.push(Set::Portable);
        sets.into_iter().map(Self).collect()
    }

    /// The name in logs and bench lines.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }

    /// See [`crate::dot_i8`].
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn dot_i8(self, a: &[i8], b: &[i8]) -> i32 {
        assert_eq!(a.len(), b.len(), "vectors of one space have one length");
        match self.0 {
            // SAFETY (here and below): a `Kernel` exists only after its features were detected,
            // and the lengths were compared above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { crate::x86::dot_i8_vnni(a, b) },
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { crate::x86::dot_i8_avx2(a, b) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { crate::neon::dot_i8(a, b) },
            Set::Portable => portable::dot_i8(a, b),
        }
    }

    /// See [`crate::dot_f32`].
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn dot_f32(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of one space have one length");
        match self.0 {
            // SAFETY (here and below): as in `dot_i8`; `available` asks for AVX2 and FMA before it
            // offers AVX-512.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni | Set::Avx2 => unsafe { crate::x86::dot_f32(a, b) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { crate::neon::dot_f32(a, b) },
            Set::Portable => portable::dot_f32(a, b),
        }
    }
}
