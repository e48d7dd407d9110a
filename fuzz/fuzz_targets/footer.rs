//! libFuzzer's way into `targets::footer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pannier_fuzz::run("footer", data));
