//! Values of a store that somebody bent: read by the readers that serve, they end in an error or in what
//! can be written and read again as the same. A checksum keeps almost all of it out, so each input is
//! read twice: as it is, and with a checksum that holds, as a rewritten or badly built store would have it.
//!
//! ```text
//! 0  1  bytes of the key (modulo 64)      1  …  key      …  value
//! ```

use loquat::store::{contents, read_pair};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 5;

pub fn run(data: &[u8]) {
    let Some((&length, rest)) = data.split_first() else { return };
    let (key, value) = rest.split_at(rest.len().min(usize::from(length) % 64));
    check(key, value);
    if let Some(contents) = value.get(HEAD_BYTES..) {
        let sum = crc32c::crc32c(contents).to_le_bytes();
        check(key, &[&[VERSION], &sum[..], contents].concat());
    }
}

fn check(key: &[u8], value: &[u8]) {
    let Ok(written) = read_pair(key, value) else { return };
    let there = contents(key, value).expect("what was read can be unpacked").len();
    assert!(written.len() <= there + 64, "what is read is no longer than what was there");
    let again = read_pair(key, &written);
    assert_eq!(again.as_ref(), Ok(&written), "what was read is written and read again as the same");
}
