//! SIMD kernels with run-time CPU detection and a portable twin of each.
