//! Matrix products and what follows them in registers, against their definition.

use std::fmt;

use proptest::prelude::*;

use super::definition::{self, bf16};
use super::{Noise, cases, on_every_set};
use crate::encoder::backend::Backend;
use crate::encoder::gemm::{self, Add, Gelu, Rows, Sink, Store};
use crate::encoder::linear::Linear;
use crate::encoder::numbers::{Bf16, F32, Int8, Numbers, RowScale};
use crate::encoder::simd::to_bf16;
use crate::encoder::{Activation, Dense, Instructions, Kind, rows};

/// Random rows and a random dense layer.
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    left: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    smoothing: Option<Vec<f32>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, inputs, outputs, smoothing, .. } = self;
        write!(f, "{rows} rows, {inputs} to {outputs}, smooth: {}", smoothing.is_some())
    }
}

impl Case {
    fn new(rows: usize, inputs: usize, outputs: usize, smooth: bool, seed: u64) -> Self {
        let mut noise = Noise(seed);
        Self {
            rows,
            inputs,
            outputs,
            left: noise.floats(rows * inputs, 3.0),
            weight: noise.floats(inputs * outputs, 0.3),
            bias: noise.floats(outputs, 1.0),
            smoothing: smooth.then(|| noise.floats(inputs, 0.5).into_iter().map(|x| 1.0 + x).collect()),
        }
    }

    fn pack(&self, on: Instructions, kind: Kind) -> Linear {
        let dense = Dense { weight: &self.weight, bias: &self.bias, smoothing: self.smoothing.as_deref() };
        Linear::pack(dense, kind, on.packing(kind), 0..self.inputs)
    }

    /// The result as floats.
    fn run<B: Backend, N: Numbers<B>>(&self, linear: &Linear) -> Vec<f32> {
        let mut data = vec![0u8; self.rows * self.inputs * N::BYTES];
        let mut scales = vec![RowScale::default(); self.rows];
        let rows = Rows { data: data.as_mut_ptr(), scales: scales.as_mut_ptr(), n: self.rows };
        let mut to = vec![f32::NAN; self.rows * self.outputs];
        let sink = store::<F32, _>(&mut to, self.outputs);
        // SAFETY: a set of this CPU, buffers of these sizes, and room for the result.
        unsafe {
            B::perform(
                #[inline(always)]
                || {
                    rows::convert::<B, N>(self.left.as_ptr(), self.inputs, linear.smoothing(), rows);
                    gemm::product::<B, N, _>(rows, linear, sink);
                },
            );
        }
        to
    }

    /// Row and column of a place in the result.
    fn place(&self, at: usize) -> (&[f32], &[f32], f32) {
        let (row, column) = (at / self.outputs, at % self.outputs);
        let left = &self.left[row * self.inputs..][..self.inputs];
        (left, &self.weight[column * self.inputs..][..self.inputs], self.bias[column])
    }

    /// Fails unless each number is its definition up to the roundings of a sum in `f32`.
    fn check(&self, got: &[f32], rounded: fn(f32) -> f32, name: &str) -> Result<(), TestCaseError> {
        for (at, got) in got.iter().enumerate() {
            let (left, right, bias) = self.place(at);
            let products =
                left.iter().zip(right).map(|(a, b)| f64::from(rounded(*a)) * f64::from(rounded(*b)));
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
            let off = (f64::from(*got) - sum - f64::from(bias)).abs();
            let allowed = (size + 1.0) * (self.inputs + 2) as f64 * (-24f64).exp2();
            prop_assert!(off <= allowed, "{name} at {at}: {off} of {allowed}");
        }
        Ok(())
    }

    /// What codes give, in the very roundings that `numbers` describes.
    fn codes(&self, at: usize) -> f32 {
        let (left, right, bias) = self.place(at);
        let factor = |at: usize| self.smoothing.as_ref().map_or(1.0, |factors| factors[at]);
        let left: Vec<f32> = left.iter().enumerate().map(|(at, x)| x * factor(at)).collect();
        let (low, high) = left.iter().fold((0.0f32, 0.0f32), |(low, high), x| (low.min(*x), high.max(*x)));
        let range = (high - low).max(1e-12);
        let (row_scale, inverse) = (range / 255.0, 255.0 / range);
        let zero = (-low * inverse).round_ties_even();
        let right: Vec<f32> = right.iter().enumerate().map(|(at, x)| x / factor(at)).collect();
        let scale = right.iter().fold(0.0f32, |largest, x| largest.max(x.abs())).max(1e-12) / 127.0;
        let (mut sum, mut column) = (0i64, 0i64);
        for (a, b) in left.iter().zip(&right) {
            let a = a.mul_add(inverse, zero).round_ties_even().clamp(0.0, 255.0) as i64;
            let b = (b / scale).round_ties_even() as i64;
            sum += a * b;
            column += b;
        }
        let sum = (-zero).mul_add(column as f32, sum as f32);
        sum.mul_add(scale * row_scale, bias)
    }
}

fn store<N, T>(to: &mut [T], stride: usize) -> Store<N> {
    Store::new(to.as_mut_ptr().cast(), stride)
}

/// Puts rows of floats into a sink, register by register.
fn put<B: Backend, K: Sink<B>>(rows: &[f32], width: usize, sink: K) {
    for (row, x) in rows.chunks_exact(width).enumerate() {
        for column in (0..width).step_by(B::LANES) {
            // SAFETY: a set of this CPU, and a sink with room for these rows.
            unsafe { B::perform(|| sink.put(row, column, B::load_f32(x[column..].as_ptr()))) };
        }
    }
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = (1usize..=40, 1usize..=4, 1usize..=3, any::<bool>(), any::<u64>());
    sizes.prop_map(|(rows, inputs, outputs, smooth, seed)| {
        // The twin multiplies in software under Miri.
        let (rows, inputs) = if cfg!(miri) { (rows.min(7), 1) } else { (rows, inputs) };
        Case::new(rows, 64 * inputs, 64 * outputs, smooth, seed)
    })
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn products_of_floats_are_their_definition(case in case()) {
        on_every_set!(B, on => {
            let got = case.run::<B, F32>(&case.pack(on, Kind::F32));
            case.check(&got, |x| x, on.name())?;
        });
    }

    #[test]
    fn products_of_bf16_are_their_definition(case in case()) {
        on_every_set!(B, on => {
            let got = case.run::<B, Bf16>(&case.pack(on, Kind::Bf16));
            case.check(&got, bf16, on.name())?;
        });
    }

    #[test]
    fn products_of_codes_have_the_bits_of_their_definition(case in case()) {
        let expected: Vec<f32> = (0..case.rows * case.outputs).map(|at| case.codes(at)).collect();
        on_every_set!(B, on => {
            prop_assert_eq!(&case.run::<B, Int8>(&case.pack(on, Kind::Int8)), &expected, "{}", on.name());
        });
    }

    #[test]
    fn every_sink_takes_its_rows(rows in 1usize..5, width in 1usize..4, size in 0.1f32..20.0, seed in any::<u64>()) {
        let (n, width) = (rows * 32 * width, 32 * width);
        let mut noise = Noise(seed);
        let (floats, before) = (noise.floats(n, size), noise.floats(n, 2.0));
        on_every_set!(B, on => {
            let mut added = before.clone();
            put::<B, _>(&floats, width, Add { to: added.as_mut_ptr(), stride: width });
            let expected: Vec<f32> = before.iter().zip(&floats).map(|(a, b)| a + b).collect();
            prop_assert_eq!(&added, &expected, "{}", on.name());

            let mut halves = vec![0u16; n];
            put::<B, _>(&floats, width, store::<Bf16, _>(&mut halves, width));
            let expected: Vec<u16> = floats.iter().map(|x| to_bf16(*x)).collect();
            prop_assert_eq!(&halves, &expected, "{}", on.name());

            let (mut fine, mut coarse, mut halves) = (vec![0f32; n], vec![0f32; n], vec![0u16; n]);
            put::<B, _>(&floats, width, Gelu::<F32, true>(store(&mut fine, width)));
            put::<B, _>(&floats, width, Gelu::<F32, false>(store(&mut coarse, width)));
            put::<B, _>(&floats, width, Gelu::<Bf16, false>(store(&mut halves, width)));
            for (at, x) in floats.iter().enumerate() {
                let exact = definition::activation(Activation::Gelu, f64::from(*x));
                let off = |got: f32| (f64::from(got) - exact).abs();
                prop_assert!(off(fine[at]) < 1.5e-7 * (1.0 + f64::from(x.abs())), "fine GELU of {x}");
                prop_assert!(off(coarse[at]) < 2e-4 + 2e-7 * f64::from(x.abs()), "coarse GELU of {x}");
                prop_assert_eq!(halves[at], to_bf16(coarse[at]), "{}", on.name());
            }
        });
    }

    #[test]
    fn a_part_of_the_inputs_is_a_layer_of_its_own(seed in any::<u64>()) {
        let case = Case::new(3, 128, 64, true, seed);
        let dense = Dense { weight: &case.weight, bias: &case.bias, smoothing: case.smoothing.as_deref() };
        let part = Case {
            inputs: 64,
            left: case.left[..3 * 64].to_vec(),
            weight: case.weight.chunks_exact(128).flat_map(|row| &row[64..]).copied().collect(),
            smoothing: case.smoothing.as_ref().map(|factors| factors[64..].to_vec()),
            bias: case.bias.clone(),
            ..case
        };
        on_every_set!(B, on => {
            let linear = Linear::pack(dense, Kind::Int8, on.packing(Kind::Int8), 64..128);
            let expected = part.run::<B, Int8>(&part.pack(on, Kind::Int8));
            prop_assert_eq!(part.run::<B, Int8>(&linear), expected, "{}", on.name());
        });
    }
}

#[test]
fn rows_and_columns_of_zeros_are_zeros_in_codes() {
    let mut case = Case::new(7, 64, 64, false, 1);
    case.left[..64].fill(0.0);
    case.weight[..64].fill(0.0);
    on_every_set!(B, on => {
        let got = case.run::<B, Int8>(&case.pack(on, Kind::Int8));
        assert_eq!(got[..64], case.bias, "{}: the first row is zero", on.name());
        assert!((0..7).all(|row| got[row * 64] == case.bias[0]), "{}: the first column is zero", on.name());
    });
}
