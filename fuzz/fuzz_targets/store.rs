#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| loquat_fuzz::bodies::store::run(data));
