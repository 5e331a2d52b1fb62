//! NEON, part of every aarch64 CPU.

use std::arch::aarch64::*;

use crate::portable;

/// # Safety
/// `a` and `b` have one length.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let whole = a.len() / 16 * 16;
    // SAFETY: 16 bytes from `at` lie inside both slices because at + 16 <= whole <= len.
    let sum = unsafe {
        let mut sum = vdupq_n_s32(0);
        for at in (0..whole).step_by(16) {
            let x = vld1q_s8(a.as_ptr().add(at));
            let y = vld1q_s8(b.as_ptr().add(at));
            // Two 16-bit products are not added before widening: (-128)^2 twice would overflow.
            sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
            sum = vpadalq_s16(sum, vmull_high_s8(x, y));
        }
        vaddvq_s32(sum)
    };
    sum.wrapping_add(portable::dot_i8(&a[whole..], &b[whole..]))
}

/// # Safety
/// `a` and `b` have one length.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let whole = a.len() / 16 * 16;
    // SAFETY: 4 floats from at + 4 * lane lie inside both slices because at + 16 <= whole <= len.
    let sum = unsafe {
        let mut sums = [vdupq_n_f32(0.0); 4];
        for at in (0..whole).step_by(16) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let x = vld1q_f32(a.as_ptr().add(at + 4 * lane));
                let y = vld1q_f32(b.as_ptr().add(at + 4 * lane));
                *sum = vfmaq_f32(*sum, x, y);
            }
        }
        vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])))
    };
    sum + portable::dot_f32(&a[whole..], &b[whole..])
}
