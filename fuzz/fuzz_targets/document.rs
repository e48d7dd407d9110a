//! libFuzzer's way into `targets::document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pannier_fuzz::run("document", data));
