//! Appends JSON to a buffer, piece by piece. The caller writes the braces, keys and commas as text;
//! this writes values: numbers, ids, times, and strings that may hold anything.

use crate::model::{IdRef, Seq, UserId, Wall};

use super::time::rfc3339_ms;

/// Each method appends and answers itself, so that a frame reads as one chain.
pub(super) struct Writer<'o>(pub &'o mut Vec<u8>);

impl Writer<'_> {
    #[inline]
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    #[inline]
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self
    }

    #[inline]
    pub fn seq(&mut self, seq: Seq) -> &mut Self {
        self.number(seq.0)
    }

    #[inline]
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    /// `write` for a value that is there, `null` for none.
    #[inline]
    pub fn option<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T) -> &mut Self,
    ) -> &mut Self {
        match value {
            Some(value) => write(self, value),
            None => self.raw("null"),
        }
    }

    /// No character of an id needs escaping.
    #[inline]
    pub fn id(&mut self, id: IdRef<'_>) -> &mut Self {
        match id {
            IdRef::Number(number) => self.number(number),
            IdRef::Text(text) => self.raw("\"").raw(text).raw("\""),
        }
    }

    #[inline]
    pub fn user(&mut self, user: &UserId) -> &mut Self {
        self.id(user.as_ref())
    }

    #[inline]
    pub fn time(&mut self, at: Wall) -> &mut Self {
        self.0.push(b'"');
        self.0.extend_from_slice(&rfc3339_ms(at));
        self.0.push(b'"');
        self
    }

    pub fn users<'u>(&mut self, users: impl IntoIterator<Item = &'u UserId>) -> &mut Self {
        self.raw("[");
        for (n, user) in users.into_iter().enumerate() {
            if n > 0 {
                self.raw(",");
            }
            self.user(user);
        }
        self.raw("]")
    }

    /// A string with its quotes. What needs no escaping is copied in runs.
    pub fn string(&mut self, text: &str) -> &mut Self {
        let mut rest = text.as_bytes();
        self.0.push(b'"');
        while let Some(at) = first_special(rest) {
            self.0.extend_from_slice(&rest[..at]);
            self.escaped(rest[at]);
            rest = &rest[at + 1..];
        }
        self.0.extend_from_slice(rest);
        self.0.push(b'"');
        self
    }

    fn escaped(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                self.0.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                return;
            }
        };
        self.0.extend_from_slice(&[b'\\', short]);
    }
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Where the first byte is that JSON wants escaped (RFC 8259 §7): a control, `"` or `\`. Eight bytes
/// at a time: each test leaves a byte's top bit set where it holds, and, by the borrow, perhaps in
/// bytes after it, but never before it.
fn first_special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    const fn below(word: u64, bound: u8) -> u64 {
        word.wrapping_sub(ONES * bound as u64) & !word
    }
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, &word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(word);
        let quotes = below(word ^ (ONES * b'"' as u64), 1);
        let backslashes = below(word ^ (ONES * b'\\' as u64), 1);
        let special = (below(word, 0x20) | quotes | backslashes) & TOPS;
        if special != 0 {
            return Some(n * 8 + special.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&byte| is_special(byte)).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        Writer(&mut out).string(text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_like_serde_json_does() {
        for n in 0..=0x2ff_u32 {
            let text: String = char::from_u32(n).into_iter().chain("tail".chars()).collect();
            for pad in 0..9 {
                let text = format!("{}{text}{text}", "x".repeat(pad));
                assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_is() {
        // Interpreted, a length each of no words, one, three and four.
        let step = if cfg!(miri) { 13 } else { 1 };
        for length in (0..40).step_by(step) {
            for at in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let expected = is_special(byte).then_some(at);
                    assert_eq!(first_special(&bytes), expected, "{byte} at {at} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_string(text in any::<String>()) {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn the_first_of_many(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let expected = bytes.iter().position(|&byte| is_special(byte));
            prop_assert_eq!(first_special(&bytes), expected);
        }
    }
}
