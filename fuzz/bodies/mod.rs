//! What each fuzz target does with its bytes. A body panics when something is wrong and has no other
//! result, so that the fuzzer and the replay of the corpus can both run it.
//!
//! A new target: its file and a line in `TARGETS` here, a `[[bin]]` and two lines in
//! `fuzz_targets/`, and a folder of the same name with a few files in `corpus/`.

pub mod command;
pub mod frame;
pub mod record;
pub mod session;
pub mod store;
pub mod token;
pub mod upgrade;

pub type Body = fn(&[u8]);

/// Name (of the target and of its folder in `corpus/`) and body.
#[allow(dead_code, reason = "the fuzz targets call the bodies themselves")]
pub const TARGETS: &[(&str, Body)] = &[
    ("command", command::run),
    ("frame", frame::run),
    ("record", record::run),
    ("session", session::run),
    ("store", store::run),
    ("token", token::run),
    ("upgrade", upgrade::run),
];

/// Ways to cut `len` bytes: not at all, into equal pieces, and unevenly, by a generator seeded with
/// the bytes themselves, so that a file always means the same cuts.
pub(crate) fn cuts(data: &[u8]) -> Vec<Vec<usize>> {
    let every = |size: usize| (0..data.len()).step_by(size).skip(1).collect();
    let mut state = data
        .iter()
        .fold(0x9e37_79b9_u32, |state, &byte| (state ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut uneven = Vec::new();
    let mut at = 0;
    loop {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        at += (state >> 16) as usize % 24;
        if at >= data.len() {
            break;
        }
        uneven.push(at);
    }
    vec![Vec::new(), every(1), every(5), every(61), uneven]
}

/// The pieces between the cuts.
pub(crate) fn pieces<'d>(data: &'d [u8], cuts: &[usize]) -> Vec<&'d [u8]> {
    let ends = cuts.iter().copied().chain([data.len()]);
    ends.scan(0, |from, to| Some(&data[std::mem::replace(from, to)..to])).collect()
}
