//! Powers, activations and the steps that take a row at a time.

use proptest::prelude::*;

use super::{Noise, cases, definition, on_every_set};
use crate::encoder::backend::Backend;
use crate::encoder::gemm::{Rows, gelu_coarse, gelu_fine};
use crate::encoder::numbers::{Bf16, F32, Int8, Numbers, RowScale, Scores};
use crate::encoder::simd::{Simd, from_bf16, from_f16, to_bf16};
use crate::encoder::{Activation, Stored, rows};

/// Applies a function of a register to numbers, a multiple of 16 of them.
fn apply<B: Backend>(x: &[f32], step: unsafe fn(B::Reg) -> B::Reg) -> Vec<f32> {
    let mut to = vec![0.0; x.len()];
    for at in (0..x.len()).step_by(B::LANES) {
        // SAFETY: a set of this CPU; whole registers of both.
        unsafe { B::perform(|| B::store_f32(to[at..].as_mut_ptr(), step(B::load_f32(x[at..].as_ptr())))) };
    }
    to
}

/// `n` numbers from `low` to `high`.
fn grid(low: f64, high: f64, n: usize) -> Vec<f32> {
    let n = if cfg!(miri) { 64 } else { n };
    (0..n).map(|at| (low + (high - low) * at as f64 / (n - 1) as f64) as f32).collect()
}

/// Fails when a result is further from the definition than allowed there.
#[track_caller]
fn check(name: &str, x: &[f32], got: &[f32], exact: impl Fn(f64) -> f64, allowed: impl Fn(f64, f64) -> f64) {
    for (x, got) in x.iter().zip(got) {
        let exact = exact(f64::from(*x));
        let off = (f64::from(*got) - exact).abs();
        assert!(off <= allowed(f64::from(*x), exact), "{name}: {got} for {x} is {off:e} off");
    }
}

#[test]
fn powers_of_two_keep_their_stated_errors() {
    let x = grid(-160.0, 0.0, 1 << 16);
    on_every_set!(B, on => {
        // The polynomial's 2e-9 vanish in six roundings; denormals are multiples of 2^-149.
        let denormal = (-149f64).exp2();
        let fine = apply::<B>(&x, <F32 as Scores<B>>::exp2);
        check(on.name(), &x, &fine, f64::exp2, |_, exact| exact * 2.0e-7 + denormal);
        let coarse = apply::<B>(&x, <Bf16 as Scores<B>>::exp2);
        check(on.name(), &x, &coarse, f64::exp2, |_, exact| exact * 8.0e-5 + denormal);
        // Scores of lanes that are no tokens.
        for exp2 in [<F32 as Scores<B>>::exp2, <Bf16 as Scores<B>>::exp2] {
            assert_eq!(apply::<B>(&[-1e30; 16], exp2), [0.0; 16], "{}", on.name());
        }
    });
}

#[test]
fn gelu_keeps_its_stated_errors() {
    let gelu = |x| definition::activation(Activation::Gelu, x);
    let x = grid(-12.0, 12.0, 1 << 16);
    let far = grid(-1e6, 1e6, 1 << 10);
    on_every_set!(B, on => {
        // 1.5e-7 of the error function, and the roundings of numbers above 1.
        let fine = |x: f64, _| 1.5e-7 * (1.0 + x.abs());
        check(on.name(), &x, &apply::<B>(&x, gelu_fine::<B>), gelu, fine);
        check(on.name(), &far, &apply::<B>(&far, gelu_fine::<B>), gelu, fine);
        let coarse = |x: f64, _| 2e-4 + 2e-7 * x.abs();
        check(on.name(), &x, &apply::<B>(&x, gelu_coarse::<B>), gelu, coarse);
        check(on.name(), &far, &apply::<B>(&far, gelu_coarse::<B>), gelu, coarse);
    });
}

#[test]
fn activations_are_their_definitions() {
    let x = grid(-12.0, 12.0, 1 << 14);
    for kind in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        on_every_set!(B, on => {
            let mut got = x.clone();
            // SAFETY: a set of this CPU; a multiple of 16 numbers.
            unsafe { B::perform(|| rows::activate::<B>(got.as_mut_ptr(), got.len(), kind)) };
            let exact = |x| definition::activation(kind, x);
            check(on.name(), &x, &got, exact, |x, _| 2e-7 * (1.0 + x.abs()));
        });
    }
}

/// Rows of floats as numbers of a kind.
fn convert<B: Backend, N: Numbers<B>>(
    from: &[f32],
    width: usize,
    smoothing: Option<&[f32]>,
) -> (Vec<u8>, Vec<RowScale>) {
    let n = from.len() / width;
    let mut data = vec![0; from.len() * N::BYTES];
    let mut scales = vec![RowScale::default(); n];
    let to = Rows { data: data.as_mut_ptr(), scales: scales.as_mut_ptr(), n };
    let smoothing = smoothing.map_or(std::ptr::null(), <[f32]>::as_ptr);
    // SAFETY: a set of this CPU, and buffers of these sizes.
    unsafe { B::perform(|| rows::convert::<B, N>(from.as_ptr(), width, smoothing, to)) };
    (data, scales)
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn rows_are_converted_number_by_number(seed in any::<u64>(), n in 1usize..5, width in 1usize..6, size in 0.01f32..50.0) {
        let width = 64 * width;
        let mut noise = Noise(seed);
        let from = noise.floats(n * width, size);
        let smoothing: Vec<f32> = noise.floats(width, 0.5).into_iter().map(|x| 1.0 + x).collect();
        on_every_set!(B, on => {
            let (floats, _) = convert::<B, F32>(&from, width, Some(&smoothing));
            let expected: Vec<u8> = from.iter().flat_map(|x| x.to_ne_bytes()).collect();
            prop_assert_eq!(floats, expected, "{}", on.name());
            let (halves, _) = convert::<B, Bf16>(&from, width, Some(&smoothing));
            let expected: Vec<u8> = from.iter().flat_map(|x| to_bf16(*x).to_ne_bytes()).collect();
            prop_assert_eq!(halves, expected, "{}", on.name());
            for smoothing in [None, Some(&smoothing[..])] {
                let (codes, scales) = convert::<B, Int8>(&from, width, smoothing);
                let codes = codes.iter().step_by(4 / B::CODES);
                for (at, code) in codes.enumerate() {
                    let x = from[at] * smoothing.map_or(1.0, |factors| factors[at % width]);
                    let RowScale { scale, zero } = scales[at / width];
                    let off = (x - scale * (f32::from(*code) - zero)).abs();
                    // Half a step, and the roundings of a code near 255; the ends may be cut.
                    prop_assert!(off <= 1.01 * scale, "{}: {x} is {off} off", on.name());
                }
            }
        });
    }

    #[test]
    fn a_norm_is_its_definition(seed in any::<u64>(), n in 1usize..5, width in 1usize..13, far in -20.0f32..20.0) {
        let width = 64 * width;
        let mut noise = Noise(seed);
        let x: Vec<f32> = noise.floats(n * width, 2.0).into_iter().map(|x| x + far).collect();
        let (gain, shift) = (noise.floats(width, 2.0), noise.floats(width, 1.0));
        on_every_set!(B, on => {
            let mut got = x.clone();
            let norm = rows::Norm { gain: &gain, shift: &shift, eps: 1e-12 };
            // SAFETY: a set of this CPU; `n` rows of the norm's width.
            unsafe { B::perform(|| rows::normalize::<B>(got.as_mut_ptr(), norm, n)) };
            for (row, got) in x.chunks_exact(width).zip(got.chunks_exact(width)) {
                let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                for (got, exact) in got.iter().zip(definition::normalize(&row, &gain, &shift, 1e-12)) {
                    prop_assert!((f64::from(*got) - exact).abs() < 2e-5, "{}: {got} for {exact}", on.name());
                }
            }
        });
    }

    #[test]
    fn a_word_is_read_in_the_type_of_its_file_at_any_address(seed in any::<u64>(), skip in 0usize..4) {
        let mut noise = Noise(seed);
        let (word, position) = (noise.floats(64, 1.0), noise.floats(64, 1.0));
        let halves: Vec<u16> = (0..64).map(|_| noise.bits() as u16 & 0xbfff).collect();
        for (stored, bytes, values) in [
            (Stored::F32, word.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<u8>>(), word.clone()),
            (Stored::F16, halves.iter().flat_map(|x| x.to_ne_bytes()).collect(), halves.iter().map(|x| from_f16(*x)).collect()),
            (Stored::Bf16, halves.iter().flat_map(|x| x.to_ne_bytes()).collect(), halves.iter().map(|x| from_bf16(*x)).collect()),
        ] {
            let mut file = vec![0; skip];
            file.extend(&bytes);
            on_every_set!(B, on => {
                let mut to = vec![0.0f32; 64];
                // SAFETY: a set of this CPU; 64 numbers each.
                unsafe {
                    B::perform(|| {
                        rows::embed::<B>(file[skip..].as_ptr(), stored, position.as_ptr(), 64, to.as_mut_ptr());
                    });
                }
                let expected: Vec<f32> = values.iter().zip(&position).map(|(a, b)| a + b).collect();
                prop_assert_eq!(to, expected, "{} {:?}", on.name(), stored);
            });
        }
    }

    #[test]
    fn rows_add_up_in_order(seed in any::<u64>(), n in 0usize..9) {
        let from = Noise(seed).floats(n * 128, 1.0);
        on_every_set!(B, on => {
            let mut to = vec![f32::NAN; 128];
            // SAFETY: a set of this CPU; `n` rows of 128 numbers.
            unsafe { B::perform(|| rows::add_up::<B>(from.as_ptr(), n, &mut to)) };
            let expected: Vec<f32> =
                (0..128).map(|at| from.iter().skip(at).step_by(128).fold(0.0, |sum, x| sum + x)).collect();
            prop_assert_eq!(to, expected, "{}", on.name());
        });
    }
}
