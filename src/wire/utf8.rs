//! UTF-8 that arrives in pieces: how far it is whole, and whether it can still become valid.
//!
//! Keeps no state. The caller holds the bytes anyway and remembers how many of them are checked; the
//! next check starts there, so that each byte is looked at once, and at most three again per piece.

/// No continuation can make this text valid (RFC 6455 §8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not UTF-8")]
pub struct InvalidUtf8;

/// How many bytes from the start are whole characters. What remains, at most three bytes, is the
/// beginning of one that more bytes can complete; anything else is refused at its first bad byte.
pub fn whole_characters(bytes: &[u8]) -> Result<usize, InvalidUtf8> {
    if bytes.is_ascii() {
        return Ok(bytes.len());
    }
    match simdutf8::compat::from_utf8(bytes) {
        Ok(text) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(InvalidUtf8),
    }
}

/// The whole text is here: a character cut off at its end is invalid, too.
pub fn check(bytes: &[u8]) -> Result<(), InvalidUtf8> {
    // The usual case, and for short texts the faster way.
    if bytes.is_ascii() {
        return Ok(());
    }
    simdutf8::basic::from_utf8(bytes).map(|_| ()).map_err(|_| InvalidUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_byte_is_noticed_at_once() {
        let check = |bytes: &[u8], expected: Result<usize, InvalidUtf8>| {
            assert_eq!(whole_characters(bytes), expected, "{bytes:02x?}");
        };
        check(b"", Ok(0));
        check(b"plain", Ok(5));
        check("κόσμε".as_bytes(), Ok("κόσμε".len()));
        check(b"a\xce", Ok(1));
        check(b"a\xe2\x82", Ok(1));
        check(b"a\xf0\x9f\x98", Ok(1));
        check(b"a\xf0\x9f\x98\x80", Ok(5));
        check(b"\x80", Err(InvalidUtf8)); // continuation without a start
        check(b"\xc0", Err(InvalidUtf8)); // overlong, whatever follows
        check(b"\xe0\x80", Err(InvalidUtf8)); // overlong
        check(b"\xed\xa0", Err(InvalidUtf8)); // a surrogate, whatever follows
        check(b"\xf4\x90", Err(InvalidUtf8)); // above U+10FFFF, whatever follows
        check(b"\xf5", Err(InvalidUtf8));
        check(b"\xce\x41", Err(InvalidUtf8));
    }

    /// Long texts take another way through the crate than short ones: it must judge the same.
    #[test]
    fn length_changes_nothing() {
        let tails: [&[u8]; 8] =
            [b"", b"x", b"\xce", b"\xce\xbb", b"\xe2\x82", b"\xf0\x9f\x98", b"\xff", b"\xed\xa0"];
        for tail in tails {
            for before in 0..200 {
                let text = ["λ".repeat(before % 3), "x".repeat(before)].concat();
                let bytes = [text.as_bytes(), tail].concat();
                let short = whole_characters(tail).map(|whole| text.len() + whole);
                assert_eq!(whole_characters(&bytes), short, "{tail:02x?} after {before}");
                assert_eq!(check(&bytes).is_ok(), short == Ok(bytes.len()), "{tail:02x?}");
            }
        }
    }

    /// A prefix is accepted exactly when some continuation of it is valid.
    #[test]
    #[cfg_attr(miri, ignore = "tens of thousands of prefixes, nothing unsafe")]
    fn every_prefix_of_up_to_two_bytes_is_judged_rightly() {
        let mut starts = std::collections::BTreeSet::new();
        for character in '\0'..=char::MAX {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            starts.insert(bytes[..bytes.len().min(2)].to_vec());
            starts.insert(bytes[..1].to_vec());
        }
        for pair in 0..=u16::MAX {
            let [first, second] = pair.to_be_bytes();
            let lone = whole_characters(&[first]).is_ok();
            assert_eq!(lone, starts.contains(&vec![first]), "{first:02x}");
            if first >= 0x80 {
                let both = whole_characters(&[first, second]).is_ok();
                assert_eq!(both, starts.contains(&vec![first, second]), "{pair:04x}");
            }
        }
    }
}
