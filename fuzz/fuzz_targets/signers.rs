//! libFuzzer's way into `targets::signers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pannier_fuzz::run("signers", data));
