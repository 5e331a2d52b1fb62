//! Sixteen lanes in an array: the twin of the SIMD back ends, and the one Miri can run.

use super::simd::{Simd, from_bf16, from_f16, to_bf16};

const LANES: usize = 16;

/// The portable instruction set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

type Words = [u32; LANES];

// Never inlined: sixteen lanes of each step in every tile of every product would take minutes to
// compile.
#[inline(never)]
fn words(f: impl Fn(usize) -> u32) -> Words {
    std::array::from_fn(f)
}

#[inline(always)]
fn map(f: impl Fn(usize) -> f32) -> Words {
    words(|lane| f(lane).to_bits())
}

#[inline(always)]
fn float(x: Words, lane: usize) -> f32 {
    f32::from_bits(x[lane])
}

#[inline(never)]
fn fold(x: Words, f: impl Fn(f32, f32) -> f32) -> f32 {
    x.into_iter().map(f32::from_bits).reduce(f).expect("sixteen lanes")
}

#[inline(always)]
unsafe fn halves(from: *const u16, f: impl Fn(u16) -> f32) -> Words {
    // SAFETY: the caller vouches for `LANES` numbers.
    map(|lane| f(unsafe { from.add(lane).read_unaligned() }))
}

impl Simd for Portable {
    type Reg = Words;
    const LANES: usize = LANES;
    const VECTORS: usize = 4;
    const CODES: usize = 4;

    unsafe fn load(from: *const u32) -> Words {
        // SAFETY: the caller vouches for `LANES` words.
        unsafe { from.cast::<Words>().read_unaligned() }
    }
    unsafe fn store(to: *mut u32, x: Words) {
        // SAFETY: the caller vouches for `LANES` words.
        unsafe { to.cast::<Words>().write_unaligned(x) }
    }
    unsafe fn splat(word: u32) -> Words {
        [word; LANES]
    }
    unsafe fn add(a: Words, b: Words) -> Words {
        map(|lane| float(a, lane) + float(b, lane))
    }
    unsafe fn sub(a: Words, b: Words) -> Words {
        map(|lane| float(a, lane) - float(b, lane))
    }
    unsafe fn mul(a: Words, b: Words) -> Words {
        map(|lane| float(a, lane) * float(b, lane))
    }
    unsafe fn fma(a: Words, b: Words, c: Words) -> Words {
        map(|lane| float(a, lane).mul_add(float(b, lane), float(c, lane)))
    }
    unsafe fn max(a: Words, b: Words) -> Words {
        map(|lane| if float(a, lane) > float(b, lane) { float(a, lane) } else { float(b, lane) })
    }
    unsafe fn min(a: Words, b: Words) -> Words {
        map(|lane| if float(a, lane) < float(b, lane) { float(a, lane) } else { float(b, lane) })
    }
    unsafe fn abs(a: Words) -> Words {
        map(|lane| float(a, lane).abs())
    }
    unsafe fn fraction(x: Words) -> Words {
        map(|lane| float(x, lane) - float(x, lane).floor())
    }
    unsafe fn scale(a: Words, x: Words) -> Words {
        map(|lane| {
            let power = float(x, lane).floor().max(-160.0) as i32;
            // In two steps, so that results below the smallest normal number are exact.
            let step = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
            float(a, lane) * step(power / 2) * step(power - power / 2)
        })
    }
    unsafe fn reciprocal(x: Words) -> Words {
        map(|lane| 1.0 / float(x, lane))
    }
    unsafe fn from_int(x: Words) -> Words {
        map(|lane| x[lane] as i32 as f32)
    }
    unsafe fn sum(x: Words) -> f32 {
        fold(x, |a, b| a + b)
    }
    unsafe fn largest(x: Words) -> f32 {
        fold(x, f32::max)
    }
    unsafe fn smallest(x: Words) -> f32 {
        fold(x, f32::min)
    }
    unsafe fn first(n: usize, x: Words, other: Words) -> Words {
        words(|lane| if lane < n { x[lane] } else { other[lane] })
    }
    unsafe fn dot_bf16(sum: Words, a: Words, b: Words) -> Words {
        map(|lane| {
            let halves = |x: u32| [from_bf16(x as u16), from_bf16((x >> 16) as u16)];
            let ([a0, a1], [b0, b1]) = (halves(a[lane]), halves(b[lane]));
            a1.mul_add(b1, a0.mul_add(b0, float(sum, lane)))
        })
    }
    unsafe fn dot_codes(sum: Words, a: Words, b: Words) -> Words {
        words(|lane| {
            let products = a[lane].to_le_bytes().into_iter().zip(b[lane].to_le_bytes());
            products
                .fold(sum[lane], |sum, (a, b)| sum.wrapping_add((i32::from(a) * i32::from(b as i8)) as u32))
        })
    }
    #[inline(never)]
    unsafe fn store_bf16(to: *mut u16, x: Words) {
        let halves: [u16; LANES] = std::array::from_fn(|lane| to_bf16(float(x, lane)));
        // SAFETY: the caller vouches for `LANES` numbers.
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(halves) }
    }
    #[inline(never)]
    unsafe fn store_codes(to: *mut u8, x: Words) {
        let codes: [u8; LANES] =
            std::array::from_fn(|lane| float(x, lane).round_ties_even().clamp(0.0, 255.0) as u8);
        // SAFETY: the caller vouches for `LANES` codes.
        unsafe { to.cast::<[u8; LANES]>().write_unaligned(codes) }
    }
    unsafe fn load_f16(from: *const u16) -> Words {
        // SAFETY: the caller vouches for `LANES` numbers.
        unsafe { halves(from, from_f16) }
    }
    unsafe fn load_bf16(from: *const u16) -> Words {
        // SAFETY: the caller vouches for `LANES` numbers.
        unsafe { halves(from, from_bf16) }
    }
    unsafe fn interleave(low: *const u16, high: *const u16) -> Words {
        words(|lane| {
            // SAFETY: the caller vouches for `LANES` numbers at both.
            let (low, high) = unsafe { (low.add(lane).read_unaligned(), high.add(lane).read_unaligned()) };
            u32::from(low) | u32::from(high) << 16
        })
    }
}
