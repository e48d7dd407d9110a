//! libFuzzer's way into `targets::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pannier_fuzz::run("frame", data));
