use proptest::prelude::*;

use crate::{Blocks, CodeMatrix, CodeQuery, Kernel, dot_f32, dot_i8, quantize, rows_of};

fn pair() -> impl Strategy<Value = (Vec<i8>, Vec<i8>)> {
    (0usize..700)
        .prop_flat_map(|n| (prop::collection::vec(any::<i8>(), n), prop::collection::vec(any::<i8>(), n)))
}

fn pairs(rows: &[u32], dots: &[i32]) -> impl Iterator<Item = (u32, i32)> {
    rows.iter().copied().zip(dots.iter().copied())
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
        asked in prop::collection::vec(any::<u32>(), 0..300),
    ) {
        let byte = |i: usize| (seed.wrapping_mul(i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8 as i8;
        let code = |i: usize| byte(i).max(-i8::MAX);
        let vectors: Vec<Vec<i8>> =
            (0..=rows).map(|row| (0..dimension).map(|i| code(row * dimension + i)).collect()).collect();
        let mut matrix = CodeMatrix::new(dimension);
        vectors[..rows].iter().for_each(|vector| matrix.push(vector));
        let asked: Vec<u32> = asked.into_iter().map(|row| row % rows as u32).collect();
        let expected: Vec<(u32, i32)> =
            asked.iter().map(|&row| (row, dot_i8(&vectors[row as usize], &vectors[rows]))).collect();
        for kernel in Kernel::available() {
            let mut found = Vec::new();
            let query = CodeQuery::new(&vectors[rows]);
            matrix.scan(kernel, query.row(), rows_of(asked.iter().copied()), |rows, dots| found.extend(pairs(rows, dots)));
            prop_assert_eq!(&found, &expected, "{}", kernel.name());
        }
    }

    #[test]
    fn a_rough_scan_is_the_same_on_every_kernel_and_off_by_half_a_step_per_code_at_most(
        vectors in (1usize..1300).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(-127i8..=127, n), 2..20)),
    ) {
        let (query, rows) = vectors.split_last().expect("two at least");
        let mut matrix = CodeMatrix::new(query.len());
        rows.iter().for_each(|row| matrix.push(row));
        let n_rows = rows.len() as u32;
        let magnitude: i32 = query.iter().map(|&code| i32::from(code).abs()).sum();
        let query = CodeQuery::new(query);
        let scan = |kernel| {
            let mut found = Vec::new();
            matrix.rough_scan(kernel, query.row(), rows_of((0..n_rows).rev()), |rows, dots| found.extend(pairs(rows, dots)));
            found
        };
        let expected = scan(*Kernel::available().last().expect("portable is always there"));
        for kernel in Kernel::available() {
            prop_assert_eq!(&scan(kernel), &expected, "{}", kernel.name());
        }
        let mut exact = Vec::new();
        matrix.scan(Kernel::detect(), query.row(), rows_of((0..n_rows).rev()), |rows, dots| exact.extend(pairs(rows, dots)));
        for (rough, exact) in expected.iter().zip(&exact) {
            prop_assert_eq!(rough.0, exact.0);
            prop_assert!((rough.1 - exact.1).abs() <= 8 * magnitude, "{} for {}", rough.1, exact.1);
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
fn the_largest_codes_do_not_saturate_in_a_scan() {
    for dimension in [1, 64, 384, 4096] {
        let mut matrix = CodeMatrix::new(dimension);
        (0..9).for_each(|row| matrix.push(&vec![if row % 2 == 0 { 127 } else { -127 }; dimension]));
        let query = CodeQuery::new(&vec![127; dimension]);
        for kernel in Kernel::available() {
            matrix.scan(kernel, query.row(), rows_of(0..9), |rows, dots| {
                for (row, dot) in pairs(rows, dots) {
                    let sign = if row % 2 == 0 { 1 } else { -1 };
                    assert_eq!(dot, sign * 16_129 * dimension as i32, "{}", kernel.name());
                }
            });
            matrix.rough_scan(kernel, query.row(), rows_of(0..9), |rows, dots| {
                for (row, dot) in pairs(rows, dots) {
                    let middle = if row % 2 == 0 { 120 } else { -120 };
                    assert_eq!(dot, 127 * middle * dimension as i32, "{}", kernel.name());
                }
            });
        }
    }
}

#[test]
#[should_panic(expected = "codes are -127 to 127")]
fn a_code_without_an_opposite_never_enters_a_matrix() {
    CodeMatrix::new(3).push(&[0, i8::MIN, 0]);
}

#[test]
#[should_panic(expected = "codes are -127 to 127")]
fn a_code_without_an_opposite_is_no_query() {
    CodeQuery::new(&[i8::MIN]);
}

#[test]
fn the_largest_component_of_either_sign_has_the_largest_code() {
    assert_eq!(quantize(&[0.3, -0.3, 0.0, 0.15]).codes, [127, -127, 0, 64]);
    assert_eq!(quantize(&[-f32::MAX, f32::MAX, f32::INFINITY, f32::NAN]).codes, [-127, 127, 0, 0]);
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
    (0..1500).for_each(|_| matrix.push(&[7; 70]));
    for row in 0..1500 {
        let codes = matrix.row(row).codes();
        assert_eq!(codes.as_ptr().addr() % 64, 0);
        assert_eq!(codes[70..], [0; 58]);
    }
}

#[test]
fn a_matrix_that_was_written_and_read_gives_the_same_dot_products() {
    for (dimension, n_rows) in [(384, 2500), (70, 3), (128, 1024), (5, 0)] {
        let code = |i: usize| ((i * 2_654_435_761) >> 7) as u8 as i8;
        let mut matrix = CodeMatrix::new(dimension);
        for row in 0..n_rows {
            let codes: Vec<i8> = (0..dimension).map(|i| code(row * dimension + i).max(-127)).collect();
            matrix.push(&codes);
        }
        let mut written = Vec::new();
        matrix.write_to(&mut written).expect("room");
        let read = CodeMatrix::read_from(dimension, n_rows, &mut &written[..]).expect("what was written");
        let query = CodeQuery::new(&(0..dimension).map(|i| code(i * 7).max(-127)).collect::<Vec<_>>());
        let rows: Vec<u32> = (0..n_rows as u32).collect();
        let all = |matrix: &CodeMatrix| {
            let (mut exact, mut rough) = (vec![0; n_rows], vec![0; n_rows]);
            matrix.dots(Kernel::detect(), query.row(), &rows, &mut exact);
            matrix.rough_dots(Kernel::detect(), query.row(), &rows, &mut rough);
            (exact, rough)
        };
        assert_eq!(all(&read), all(&matrix), "{dimension} components, {n_rows} rows");
        if let Some(last) = written.len().checked_sub(1) {
            let short = CodeMatrix::read_from(dimension, n_rows, &mut &written[..last]);
            assert_eq!(short.expect_err("too short").kind(), std::io::ErrorKind::UnexpectedEof);
            written[0] = i8::MIN as u8;
            let wrong = CodeMatrix::read_from(dimension, n_rows, &mut &written[..]);
            assert_eq!(wrong.expect_err("no code").kind(), std::io::ErrorKind::InvalidData);
        }
    }
}

#[test]
fn blocks_filled_run_by_run_have_the_rows_in_their_order() {
    for rows in [0usize, 1, 1024, 1025, 3000] {
        let mut next = 0u32;
        let filled = Blocks::filled(3, rows, |run: &mut [u32]| {
            run.iter_mut().for_each(|value| {
                *value = next;
                next += 1;
            });
            Ok::<_, ()>(())
        })
        .expect("nothing fails");
        assert_eq!(filled.len(), rows);
        assert_eq!(
            filled.runs().flatten().copied().collect::<Vec<_>>(),
            (0..3 * rows as u32).collect::<Vec<_>>()
        );
        assert!(rows == 0 || filled.row(rows - 1)[2] == 3 * rows as u32 - 1);
    }
    assert_eq!(Blocks::filled(3, 5, |_: &mut [u32]| Err("no")).expect_err("it failed"), "no");
}

#[test]
fn kept_rows_are_those_asked_for_in_their_order() {
    let mut matrix = CodeMatrix::new(3);
    for code in 1..=4 {
        matrix.push(&[code; 3]);
    }
    let kept = matrix.kept([0, 3, 2].into_iter());
    assert_eq!((0..kept.len()).map(|row| kept.row(row).codes()[2]).collect::<Vec<_>>(), [1, 4, 3]);
}

#[test]
fn a_copy_of_blocks_stands_still_while_the_original_grows() {
    let mut blocks = Blocks::new(2);
    let push = |blocks: &mut Blocks<f32>, value: usize| blocks.push_with(|row| row.fill(value as f32));
    let mut copies = Vec::new();
    for value in 0..3000 {
        push(&mut blocks, value);
        if [1, 16, 17, 1000, 1024, 1025, 2500].contains(&(value + 1)) {
            copies.push(blocks.clone());
        }
    }
    for copy in copies.iter_mut() {
        let len = copy.len();
        (0..len).for_each(|row| assert_eq!(copy.row(row), [row as f32; 2]));
        // And the other way round: what a copy adds is its own.
        push(copy, 7);
        assert_eq!(copy.row(len), [7.0; 2]);
    }
    (0..3000).for_each(|row| assert_eq!(blocks.row(row), [row as f32; 2]));
}

#[test]
#[should_panic(expected = "row 3 of 3")]
fn room_to_spare_is_no_row() {
    let mut blocks = Blocks::new(1);
    (0..3).for_each(|_| blocks.push_with(|row| row.fill(1u8)));
    blocks.row(3);
}

#[test]
fn the_detected_kernel_is_the_first_available_one_and_portable_the_last() {
    let available = Kernel::available();
    assert_eq!(Kernel::detect(), available[0]);
    assert_eq!(available.last().map(|kernel| kernel.name()), Some("portable"));
    assert_eq!(dot_f32(&[1.0, 2.0], &[3.0, 4.0]), 11.0);
}
