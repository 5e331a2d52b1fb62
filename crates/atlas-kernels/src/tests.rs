use proptest::prelude::*;

use crate::{CodeMatrix, Kernel, dot_f32, dot_i8, quantize};

fn pair() -> impl Strategy<Value = (Vec<i8>, Vec<i8>)> {
    (0usize..700)
        .prop_flat_map(|n| (prop::collection::vec(any::<i8>(), n), prop::collection::vec(any::<i8>(), n)))
}

proptest! {
    #[test]
    fn every_int8_kernel_gives_the_bits_of_the_definition((a, b) in pair()) {
        let expected: i32 = a.iter().zip(&b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum();
        for kernel in Kernel::available() {
            prop_assert_eq!(kernel.dot_i8(&a, &b), expected, "{}", kernel.name());
        }
    }

    #[test]
    fn slices_need_no_alignment((a, b) in pair(), skip in 0usize..64) {
        let skip = skip.min(a.len());
        let expected = Kernel::available().last().expect("portable is always there").dot_i8(&a[skip..], &b[skip..]);
        for kernel in Kernel::available() {
            prop_assert_eq!(kernel.dot_i8(&a[skip..], &b[skip..]), expected, "{}", kernel.name());
        }
    }

    #[test]
    fn a_scan_gives_the_dot_product_of_each_asked_row(
        dimension in 1usize..200,
        rows in 1usize..20,
        seed in any::<u64>(),
        asked in prop::collection::vec(any::<u32>(), 0..30),
    ) {
        let code = |i: usize| (seed.wrapping_mul(i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8 as i8;
        let vectors: Vec<Vec<i8>> =
            (0..=rows).map(|row| (0..dimension).map(|i| code(row * dimension + i)).collect()).collect();
        let mut matrix = CodeMatrix::new(dimension);
        vectors[..rows].iter().for_each(|vector| matrix.push(vector));
        let asked: Vec<u32> = asked.into_iter().map(|row| row % rows as u32).collect();
        let expected: Vec<(u32, i32)> =
            asked.iter().map(|&row| (row, dot_i8(&vectors[row as usize], &vectors[rows]))).collect();
        for kernel in Kernel::available() {
            let mut found = Vec::new();
            matrix.scan(kernel, &vectors[rows], asked.iter().copied(), |row, dot| found.push((row, dot)));
            prop_assert_eq!(&found, &expected, "{}", kernel.name());
        }
    }

    #[test]
    fn float_kernels_agree_up_to_the_order_of_summation(a in prop::collection::vec(-1.0f32..1.0, 0..500)) {
        let b: Vec<f32> = a.iter().rev().copied().collect();
        let exact: f64 = a.iter().zip(&b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        for kernel in Kernel::available() {
            // 500 products below 1, each rounded to 2^-24: far less than 1e-3.
            prop_assert!((f64::from(kernel.dot_f32(&a, &b)) - exact).abs() < 1e-3, "{}", kernel.name());
        }
    }

    #[test]
    fn a_code_is_at_most_half_a_step_off(vector in prop::collection::vec(-3.0f32..3.0, 1..100)) {
        let quantized = quantize(&vector);
        for (x, &code) in vector.iter().zip(&quantized.codes) {
            prop_assert!((x - f32::from(code) * quantized.scale).abs() <= quantized.scale * 0.501);
        }
    }
}

#[test]
fn extreme_codes_do_not_saturate() {
    for n in [1, 31, 32, 63, 64, 65, 4096, 65_536] {
        let lowest = vec![i8::MIN; n];
        for kernel in Kernel::available() {
            assert_eq!(kernel.dot_i8(&lowest, &lowest), 16_384 * n as i32, "{} at {n}", kernel.name());
            assert_eq!(
                kernel.dot_i8(&lowest, &vec![i8::MAX; n]),
                -16_256 * n as i32,
                "{} at {n}",
                kernel.name()
            );
        }
    }
}

#[test]
fn vectors_without_a_scale_become_zero_codes() {
    for vector in [vec![], vec![0.0; 3], vec![f32::NAN, f32::INFINITY], vec![1e-45; 4]] {
        let quantized = quantize(&vector);
        assert_eq!(quantized.codes, vec![0; vector.len()]);
        assert_eq!(quantized.scale, 0.0);
    }
}

#[test]
fn rows_begin_on_cache_lines_and_are_padded_with_zeros() {
    let mut matrix = CodeMatrix::new(70);
    (0..5).for_each(|_| matrix.push(&[7; 70]));
    for row in 0..5 {
        assert_eq!(matrix.row(row).as_ptr().addr() % 64, 0);
        assert_eq!(matrix.row(row)[70..], [0; 58]);
    }
}

#[test]
fn copying_and_truncating_moves_whole_rows() {
    let mut matrix = CodeMatrix::new(3);
    for code in 1..=4 {
        matrix.push(&[code; 3]);
    }
    matrix.copy_row(3, 1);
    matrix.truncate(3);
    assert_eq!((0..matrix.len()).map(|row| matrix.row(row)[2]).collect::<Vec<_>>(), [1, 4, 3]);
}

#[test]
fn the_detected_kernel_is_the_first_available_one_and_portable_the_last() {
    let available = Kernel::available();
    assert_eq!(Kernel::detect(), available[0]);
    assert_eq!(available.last().map(|kernel| kernel.name()), Some("portable"));
    assert_eq!(dot_f32(&[1.0, 2.0], &[3.0, 4.0]), 11.0);
}
