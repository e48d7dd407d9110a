//! libFuzzer's way into `targets::toc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pannier_fuzz::run("toc", data));
