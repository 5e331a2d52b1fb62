//! Every primitive of every instruction set against the portable twin or its definition.

use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
use proptest::prelude::*;

use super::{Noise, cases, on_every_set};
use crate::encoder::Instructions;
use crate::encoder::backend::Backend;
use crate::encoder::portable::Portable;
use crate::encoder::simd::{Simd, from_bf16, from_f16, to_bf16};

/// Sixteen words: one register of the widest set, two of AVX2.
type Words = [u32; 16];

/// Applies a primitive to registers that are loaded from `N` arrays of words.
fn apply<B: Backend, const N: usize>(from: [&Words; N], step: impl Fn([B::Reg; N]) -> B::Reg) -> Words {
    let mut to = [0; 16];
    for at in (0..16).step_by(B::LANES) {
        // SAFETY: the set is one of `Instructions::available`; 16 is a multiple of `LANES`.
        unsafe {
            B::perform(|| {
                B::store(to[at..].as_mut_ptr(), step(from.map(|words| B::load(words[at..].as_ptr()))));
            });
        }
    }
    to
}

/// Lets a primitive write registers of `words`, `n` numbers in all.
fn write<B: Backend, T: Copy + Default>(n: usize, words: &Words, step: impl Fn(*mut T, B::Reg)) -> Vec<T> {
    let mut to = vec![T::default(); n];
    for at in (0..16).step_by(B::LANES) {
        let place = to[at * n / 16..].as_mut_ptr();
        // SAFETY: as in `apply`; `to` has `n / 16` numbers per lane.
        unsafe { B::perform(|| step(place, B::load(words[at..].as_ptr()))) };
    }
    to
}

/// Lets a primitive read registers of the first 16 of `numbers`.
fn read<B: Backend, T>(numbers: &[T], step: impl Fn(*const T) -> B::Reg) -> Words {
    let mut to = [0; 16];
    for at in (0..16).step_by(B::LANES) {
        // SAFETY: as in `apply`.
        unsafe { B::perform(|| B::store(to[at..].as_mut_ptr(), step(numbers[at..].as_ptr()))) };
    }
    to
}

/// A call of a primitive whose preconditions `apply`, `write` or `read` keep.
macro_rules! call {
    ($call:expr) => {
        // SAFETY: inside `perform` on a set of this CPU, on memory of whole registers.
        unsafe { $call }
    };
}

fn float(words: &Words) -> [f32; 16] {
    words.map(f32::from_bits)
}

/// Floats of any size, with both zeros and denormals.
fn any_float() -> impl Strategy<Value = u32> {
    (POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO).prop_map(f32::to_bits)
}

fn any_floats() -> impl Strategy<Value = Words> {
    prop::array::uniform16(any_float())
}

fn floats(range: std::ops::Range<f32>) -> impl Strategy<Value = Words> {
    prop::array::uniform16(range.prop_map(f32::to_bits))
}

/// What must be equal in every bit, NaN (of infinities that overflow made) being one value.
fn exact<B: Backend>(a: &Words, b: &Words, c: &Words, ints: &Words) -> Vec<(&'static str, Words)> {
    let results = vec![
        ("add", apply::<B, 2>([a, b], |[a, b]| call!(B::add(a, b)))),
        ("sub", apply::<B, 2>([a, b], |[a, b]| call!(B::sub(a, b)))),
        ("mul", apply::<B, 2>([a, b], |[a, b]| call!(B::mul(a, b)))),
        ("fma", apply::<B, 3>([a, b, c], |[a, b, c]| call!(B::fma(a, b, c)))),
        ("max", apply::<B, 2>([a, b], |[a, b]| call!(B::max(a, b)))),
        ("min", apply::<B, 2>([a, b], |[a, b]| call!(B::min(a, b)))),
        ("abs", apply::<B, 1>([a], |[a]| call!(B::abs(a)))),
        ("from_int", apply::<B, 1>([ints], |[ints]| call!(B::from_int(ints)))),
        ("splat", apply::<B, 0>([], |[]| call!(B::splat(a[0])))),
        ("zero", apply::<B, 0>([], |[]| call!(B::zero()))),
        ("load and store", apply::<B, 1>([ints], |[ints]| ints)),
    ];
    let one_nan = |word: u32| if f32::from_bits(word).is_nan() { f32::NAN.to_bits() } else { word };
    results
        .into_iter()
        .map(|(name, words)| (name, if name.contains("load") { words } else { words.map(one_nan) }))
        .collect()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn arithmetic_has_the_bits_of_the_twin(
        a in any_floats(),
        b in any_floats(),
        c in any_floats(),
        ints in any::<Words>(),
    ) {
        let expected = exact::<Portable>(&a, &b, &c, &ints);
        on_every_set!(B, on => {
            prop_assert_eq!(exact::<B>(&a, &b, &c, &ints), expected.clone(), "{}", on.name());
        });
    }

    #[test]
    fn a_number_is_its_floor_and_its_fraction(x in any_floats(), small in floats(-300.0..127.0)) {
        for x in [x, small] {
            on_every_set!(B, on => {
                let got = apply::<B, 1>([&x], |[x]| call!(B::fraction(x)));
                for (x, got) in float(&x).into_iter().zip(float(&got)) {
                    // The distance from 1 to the number before it.
                    prop_assert!((got - (x - x.floor())).abs() <= 6e-8, "{}: {got} for {x}", on.name());
                }
            });
        }
    }

    #[test]
    fn scaling_is_exact_down_to_denormals_and_zero_below(a in floats(0.5..2.0), x in floats(-300.0..127.0)) {
        let expected: Vec<f32> = float(&a)
            .iter()
            .zip(float(&x))
            .map(|(a, x)| (f64::from(*a) * f64::from(x.floor()).exp2()) as f32)
            .collect();
        on_every_set!(B, on => {
            let got = apply::<B, 2>([&a, &x], |[a, x]| call!(B::scale(a, x)));
            prop_assert_eq!(&float(&got)[..], &expected[..], "{}", on.name());
        });
    }

    #[test]
    fn a_reciprocal_is_right_up_to_two_units_in_the_last_place(x in floats(1.0..1e30)) {
        on_every_set!(B, on => {
            let got = apply::<B, 1>([&x], |[x]| call!(B::reciprocal(x)));
            for (x, got) in float(&x).into_iter().zip(got) {
                let off = got.abs_diff((1.0 / x).to_bits());
                prop_assert!(off <= 2, "{}: 1 / {x} is {off} units off", on.name());
            }
        });
    }

    #[test]
    fn lanes_fold_to_their_sum_and_extremes(x in floats(-1e6..1e6)) {
        on_every_set!(B, on => {
            for at in (0..16).step_by(B::LANES) {
                let lanes = &float(&x)[at..at + B::LANES];
                // SAFETY: a set of this CPU; a register of lanes.
                let (sum, largest, smallest) = unsafe {
                    B::perform(|| {
                        let x = B::load_f32(lanes.as_ptr());
                        (B::sum(x), B::largest(x), B::smallest(x))
                    })
                };
                let exact: f64 = lanes.iter().map(|x| f64::from(*x)).sum();
                let size: f64 = lanes.iter().map(|x| f64::from(x.abs())).sum();
                // At most four roundings on the way up, sixteen in the twin.
                prop_assert!((f64::from(sum) - exact).abs() <= size * 16.0 * 6e-8, "{}", on.name());
                prop_assert_eq!(largest, lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                prop_assert_eq!(smallest, lanes.iter().copied().fold(f32::INFINITY, f32::min));
            }
        });
    }

    #[test]
    fn the_first_lanes_are_chosen_by_number(x in any::<Words>(), other in any::<Words>(), n in 0usize..=16) {
        on_every_set!(B, on => {
            let n = n.min(B::LANES);
            let got = apply::<B, 2>([&x, &other], |[x, other]| call!(B::first(n, x, other)));
            let expected: Words =
                std::array::from_fn(|lane| if lane % B::LANES < n { x[lane] } else { other[lane] });
            prop_assert_eq!(got, expected, "{}", on.name());
        });
    }

    #[test]
    fn products_of_codes_are_exact(
        sum in any::<Words>(),
        a in any::<[[u8; 4]; 16]>(),
        b in any::<[[i8; 4]; 16]>(),
    ) {
        on_every_set!(B, on => {
            // As many codes per lane as the set takes, in as many bits as are left for each.
            let pack = |codes: [i32; 4]| {
                let bits = 32 / B::CODES;
                let mask = u32::MAX >> (32 - bits);
                let place = |place: usize| (codes[place] as u32 & mask) << (place * bits);
                (0..B::CODES).map(place).fold(0, |word, part| word | part)
            };
            let left = a.map(|codes| pack(codes.map(i32::from)));
            let right = b.map(|codes| pack(codes.map(i32::from)));
            let got = apply::<B, 3>([&sum, &left, &right], |[sum, a, b]| call!(B::dot_codes(sum, a, b)));
            let expected: Words = std::array::from_fn(|lane| {
                let products = a[lane].iter().zip(b[lane]).take(B::CODES);
                products.fold(sum[lane], |sum, (a, b)| {
                    sum.wrapping_add((i32::from(*a) * i32::from(b)) as u32)
                })
            });
            prop_assert_eq!(got, expected, "{}", on.name());
        });
    }

    #[test]
    fn products_of_bf16_are_right_up_to_the_order_of_summation(
        sum in floats(-4.0..4.0),
        a in prop::array::uniform32(-2.0f32..2.0),
        b in prop::array::uniform32(-2.0f32..2.0),
    ) {
        let pack = |x: [f32; 32]| -> Words {
            std::array::from_fn(|lane| {
                u32::from(to_bf16(x[2 * lane])) | u32::from(to_bf16(x[2 * lane + 1])) << 16
            })
        };
        let (left, right) = (pack(a), pack(b));
        on_every_set!(B, on => {
            let got = apply::<B, 3>([&sum, &left, &right], |[sum, a, b]| call!(B::dot_bf16(sum, a, b)));
            for lane in 0..16 {
                let half = |words: &Words, which: u32| f64::from(from_bf16((words[lane] >> (16 * which)) as u16));
                let exact = f64::from(f32::from_bits(sum[lane]))
                    + half(&left, 0) * half(&right, 0)
                    + half(&left, 1) * half(&right, 1);
                // Up to three roundings of numbers below 16.
                let off = (f64::from(f32::from_bits(got[lane])) - exact).abs();
                prop_assert!(off < 3.0 * 16.0 * 6e-8, "{}: {off}", on.name());
            }
        });
    }

    #[test]
    fn bf16_numbers_are_rounded_to_nearest_even(x in any_floats(), ties in any::<[u16; 16]>()) {
        // A tie is a bf16 number and half a step.
        let ties = ties.map(|bits| u32::from(bits) << 16 | 0x8000);
        for x in [x, ties.map(|bits| if f32::from_bits(bits).is_nan() { 0x3f80_8000 } else { bits })] {
            on_every_set!(B, on => {
                let got = write::<B, u16>(16, &x, |to, x| call!(B::store_bf16(to, x)));
                for (x, got) in float(&x).into_iter().zip(got) {
                    let expected = to_bf16(x);
                    // Hardware takes denormals as zero.
                    let flushed = x.is_subnormal() && got & 0x7fff == 0;
                    prop_assert!(got == expected || flushed, "{}: {x:e} is {got:x}", on.name());
                    prop_assert_eq!(got >> 15, expected >> 15);
                }
            });
        }
    }

    #[test]
    fn codes_are_rounded_to_nearest_even_and_cut(
        near in floats(-20.0..280.0),
        far in floats(-2e9..2e9),
        halves in prop::array::uniform16(-10i32..300),
    ) {
        for x in [near, far, halves.map(|x| (x as f32 + 0.5).to_bits())] {
            on_every_set!(B, on => {
                let bytes = 16 * 4 / B::CODES;
                let got = write::<B, u8>(bytes, &x, |to, x| call!(B::store_codes(to, x)));
                for (x, got) in float(&x).into_iter().zip(got.chunks_exact(4 / B::CODES)) {
                    prop_assert_eq!(f32::from(got[0]), x.round_ties_even().clamp(0.0, 255.0), "{}", on.name());
                    prop_assert!(got[1..].iter().all(|byte| *byte == 0), "{}", on.name());
                }
            });
        }
    }

    #[test]
    fn bf16_numbers_are_read_and_interleaved(numbers in prop::array::uniform32(any::<u16>())) {
        on_every_set!(B, on => {
            let floats = read::<B, u16>(&numbers, |from| call!(B::load_bf16(from)));
            let expected: Words = std::array::from_fn(|lane| u32::from(numbers[lane]) << 16);
            prop_assert_eq!(floats, expected, "{}", on.name());
            let pairs = read::<B, u16>(&numbers, |low| call!(B::interleave(low, low.add(16))));
            let expected: Words =
                std::array::from_fn(|lane| u32::from(numbers[lane]) | u32::from(numbers[16 + lane]) << 16);
            prop_assert_eq!(pairs, expected, "{}", on.name());
        });
    }

    #[test]
    fn a_square_is_turned_over_inside_wider_matrices(seed in any::<u64>(), more in 0usize..9, less in 0usize..9) {
        on_every_set!(B, on => {
            let n = B::LANES;
            let (from_stride, to_stride) = (n + more, n + less);
            let mut noise = Noise(seed);
            let from: Vec<u32> = (0..(n - 1) * from_stride + n).map(|_| noise.bits() as u32).collect();
            let mut to = vec![7; (n - 1) * to_stride + n];
            // SAFETY: a set of this CPU; both have `n` rows of `n` words, `stride` apart.
            unsafe { B::perform(|| B::transpose(from.as_ptr(), from_stride, to.as_mut_ptr(), to_stride)) };
            for (at, word) in to.iter().enumerate() {
                let (i, j) = (at / to_stride, at % to_stride);
                let expected = if j < n { from[j * from_stride + i] } else { 7 };
                prop_assert_eq!(*word, expected, "{} {} {}", on.name(), i, j);
            }
        });
    }
}

#[test]
fn every_half_is_read_as_its_float() {
    let step = if cfg!(miri) { 997 } else { 1 };
    on_every_set!(B, on => {
        for first in (0..=u16::MAX - 15).step_by(16 * step) {
            let bits: [u16; 16] = std::array::from_fn(|lane| first + lane as u16);
            let got = float(&read::<B, u16>(&bits, |from| call!(B::load_f16(from))));
            for (bits, got) in bits.into_iter().zip(got) {
                let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
                let size = match exponent {
                    0 => fraction * (-24f64).exp2(),
                    31 if fraction == 0.0 => f64::INFINITY,
                    31 => f64::NAN,
                    _ => (1024.0 + fraction) * f64::from(exponent - 25).exp2(),
                };
                let expected = if bits >> 15 == 1 { -size as f32 } else { size as f32 };
                for got in [got, from_f16(bits)] {
                    let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
                    assert!(same, "{} {bits:x}: {got}", on.name());
                }
            }
        }
    });
}

#[test]
fn the_fastest_set_comes_first_and_the_portable_one_last() {
    let sets = Instructions::available();
    assert_eq!(sets.last().map(|on| on.name()), Some("portable"));
    assert_eq!(Instructions::detect().is_some(), sets.len() > 1);
    assert!(Instructions::detect().is_none_or(|best| best == sets[0]));
    assert!(sets.iter().all(|on| on.has_bf16() == (on.name() == "avx512-bf16")));
}
