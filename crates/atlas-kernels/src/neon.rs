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

/// Two products fit 16 bits where no code is -128, which saves half of the widening additions.
///
/// # Safety
/// `a` and `b` have one length, a multiple of 16, and no code in them is -128.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot_codes(a: &[i8], b: &[i8]) -> i32 {
    // SAFETY: 16 bytes from `at` lie inside both slices because their length is a multiple of 16;
    // 2 * 127 * 127 is 32,258.
    unsafe {
        let mut sum = vdupq_n_s32(0);
        for at in (0..a.len()).step_by(16) {
            let x = vld1q_s8(a.as_ptr().add(at));
            let y = vld1q_s8(b.as_ptr().add(at));
            let pairs = vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(y)), x, y);
            sum = vpadalq_s16(sum, pairs);
        }
        vaddvq_s32(sum)
    }
}

/// See `portable::dot_halves`.
///
/// # Safety
/// `codes` are whole groups of 64 and there are at least half as many bytes of halves.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot_halves(codes: &[i8], halves: &[u8]) -> i32 {
    // SAFETY: each group reads its 64 codes and its 32 bytes.
    unsafe {
        let mut sum = vdupq_n_s32(0);
        for group in 0..codes.len() / 64 {
            for part in 0..2 {
                let bytes = vld1q_u8(halves.as_ptr().add(group * 32 + part * 16));
                let low = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
                let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes));
                let x = vld1q_s8(codes.as_ptr().add(group * 64 + part * 16));
                let y = vld1q_s8(codes.as_ptr().add(group * 64 + 32 + part * 16));
                // Four products of at most 127 * 15 fit 16 bits.
                let pairs = vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(low)), x, low);
                let pairs = vmlal_s8(pairs, vget_low_s8(y), vget_low_s8(high));
                sum = vpadalq_s16(sum, vmlal_high_s8(pairs, y, high));
            }
        }
        vaddvq_s32(sum)
    }
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
