//! Attention of one sequence against the softmax of its definition.

use proptest::prelude::*;

use super::{Noise, cases, definition, on_every_set};
use crate::encoder::attention::{Heads, Scratch, attend, padded};
use crate::encoder::backend::Backend;
use crate::encoder::gemm::ROWS;
use crate::encoder::instructions::Set;
use crate::encoder::numbers::{Bf16, F32, Scores};

/// Runs attention in buffers of exactly the stated sizes, full of what would be seen in the result.
fn run<B: Backend, N: Scores<B>>(qkv: &[f32], n: usize, heads: Heads) -> Vec<f32> {
    let width = 3 * heads.n * heads.width;
    let mut numbers = vec![0u32; n * width / N::GROUP];
    let columns = padded::<B>(n);
    let rubbish = u32::MAX; // NaN as a float, and as two bf16
    let mut keys = vec![rubbish; columns * heads.width / N::GROUP];
    let mut values = vec![rubbish; n.div_ceil(N::GROUP) * heads.width];
    let mut scores = vec![f32::NAN; ROWS * columns];
    let mut shares = vec![rubbish; ROWS * columns / N::GROUP];
    let mut context = vec![f32::NAN; n * heads.n * heads.width];
    let scratch = Scratch {
        keys: keys.as_mut_ptr(),
        values: values.as_mut_ptr(),
        scores: scores.as_mut_ptr(),
        shares: shares.as_mut_ptr().cast(),
    };
    let to = numbers.as_mut_ptr().cast::<u8>();
    // SAFETY: a set of this CPU; the buffers are what the shape and the number of tokens ask for.
    unsafe {
        B::perform(
            #[inline(always)]
            || {
                for row in 0..n {
                    let from = qkv.as_ptr().add(row * width);
                    N::put_row(from, std::ptr::null(), width, to.add(row * width * N::BYTES));
                }
                attend::<B, N>(to, n, heads, scratch, context.as_mut_ptr());
            },
        );
    }
    context
}

/// Attention over random rows, in floats and in bf16, on every set that is fast enough for it.
fn check(n: usize, heads: Heads, seed: u64) {
    let width = 3 * heads.n * heads.width;
    // Scores of up to about 20 either way: some rows have one large share, others many small ones.
    let qkv = Noise(seed).floats(n * width, 1.5);
    let rows = |rounded: fn(f32) -> f32| -> Vec<Vec<f64>> {
        qkv.chunks_exact(width).map(|row| row.iter().map(|x| f64::from(rounded(*x))).collect()).collect()
    };
    let exact = definition::attend(&rows(|x| x), heads.n).concat();
    let exact_bf16 = definition::attend(&rows(definition::bf16), heads.n).concat();
    on_every_set!(B, on => {
        if on.0 != Set::Portable || n <= 40 {
            // Values are below 1.5, and a context is a mean of them. Shares are rounded to 8 bits
            // in bf16.
            for (got, exact, allowed) in
                [(run::<B, F32>(&qkv, n, heads), &exact, 1e-5), (run::<B, Bf16>(&qkv, n, heads), &exact_bf16, 6e-3)]
            {
                for (at, (got, exact)) in got.iter().zip(exact).enumerate() {
                    let off = (f64::from(*got) - exact).abs();
                    assert!(off <= allowed, "{}: {n} tokens, {heads:?}, at {at}: {off}", on.name());
                }
            }
        }
    });
}

#[test]
fn attention_is_its_definition_at_every_length_up_to_seventy() {
    for n in if cfg!(miri) { 6..=7 } else { 1..=70 } {
        for width in [32, 64] {
            check(n, Heads { n: 1, width }, n as u64);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow there")]
fn attention_is_its_definition_at_long_lengths() {
    for n in [127, 128, 129, 255, 256, 257, 511, 512] {
        check(n, Heads { n: 1, width: 32 }, n as u64);
    }
    check(300, Heads { n: 2, width: 64 }, 300);
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn heads_do_not_see_each_other(n in 1usize..30, heads in 1usize..5, width in 1usize..5, seed in any::<u64>()) {
        let (n, heads) = if cfg!(miri) { (n.min(3), 2) } else { (n, heads) };
        check(n, Heads { n: heads, width: 32 * width }, seed);
    }

    #[test]
    fn equal_keys_give_the_mean_of_the_values(n in 1usize..100, seed in any::<u64>(), score in -60.0f32..60.0) {
        let n = if cfg!(miri) { n.min(9) } else { n };
        let heads = Heads { n: 1, width: 32 };
        let mut qkv = Noise(seed).floats(n * 96, 1.0);
        for row in qkv.chunks_exact_mut(96) {
            row[..64].fill(0.0);
            (row[0], row[32]) = (1.0, score);
        }
        on_every_set!(B, on => {
            let got = run::<B, F32>(&qkv, n, heads);
            for at in 0..32 {
                let mean = (0..n).map(|row| f64::from(qkv[row * 96 + 64 + at])).sum::<f64>() / n as f64;
                for row in got.chunks_exact(32) {
                    prop_assert!((f64::from(row[at]) - mean).abs() < 1e-5, "{}", on.name());
                }
            }
        });
    }
}
