//! One pair of the pages' tree, read by the readers that serve and written again. It looks at no other
//! pair: whether pairs fit together is `verify`'s.
//!
//! Bytes that nobody wrote must end in an error and never in a panic; the fuzz target `store` holds it to that.

use std::borrow::Cow;

use crate::node::journal::record;

use super::error::ValueError;
use super::keys::{KeyReader, Kind};
use super::page;
use super::values::{self, ValueReader, ValueWriter};

/// The value as the writers would write what was read of it.
pub fn read_pair(key: &[u8], value: &[u8]) -> Result<Vec<u8>, ValueError> {
    match key.first() {
        Some(&kind) if kind == Kind::Page as u8 => read_page(key, value),
        Some(&kind) if kind == Kind::Header as u8 => {
            KeyReader::new(key, Kind::Header)?.conversation()?;
            Ok(values::write_header(&values::read_header(value)?))
        }
        Some(&kind) if kind == Kind::FirstSend as u8 => {
            let mut parts = KeyReader::new(key, Kind::FirstSend)?;
            parts.day()?;
            parts.conversation()?;
            parts.user()?;
            parts.text()?;
            Ok(values::write_first_send(&values::read_first_send(value)?))
        }
        Some(&kind) if kind == Kind::Sealed as u8 => {
            Ok(values::write_sealed(&values::read_sealed(value)?))
        }
        Some(&kind) if kind == Kind::Gone as u8 => {
            KeyReader::new(key, Kind::Gone)?.conversation()?;
            Ok(values::write_gone(&values::read_gone(value)?))
        }
        Some(&kind) if kind == Kind::ToErase as u8 => {
            let mut parts = KeyReader::new(key, Kind::ToErase)?;
            parts.conversation()?;
            parts.number()?;
            Ok(values::write_to_erase(&values::read_to_erase(value)?))
        }
        Some(&kind) if kind == Kind::Erasure as u8 => {
            KeyReader::new(key, Kind::Erasure)?.user()?;
            Ok(values::write_erasure(&values::read_erasure(value)?))
        }
        Some(&kind) if kind == Kind::Profile as u8 => {
            KeyReader::new(key, Kind::Profile)?.user()?;
            let record = record::decode(ValueReader::new(value)?.rest())?;
            let bytes = record::to_bytes(&record).map_err(|_| ValueError::Content)?;
            Ok(ValueWriter::default().bytes(&bytes).finish())
        }
        _ => Err(ValueError::Key),
    }
}

/// What a value says, unpacked: for who looks for a text in it.
pub fn contents<'a>(key: &[u8], value: &'a [u8]) -> Result<Cow<'a, [u8]>, ValueError> {
    match key.first() {
        Some(&kind) if kind == Kind::Page as u8 => Ok(page::open(value)?.into_body()),
        _ => Ok(Cow::Borrowed(ValueReader::new(value)?.rest())),
    }
}

fn read_page(key: &[u8], value: &[u8]) -> Result<Vec<u8>, ValueError> {
    let mut parts = KeyReader::new(key, Kind::Page)?;
    parts.conversation()?;
    parts.number()?;
    let page = page::open(value)?;
    let entries = page.entries()?;
    // A record that makes no sense is one entry's, and no reason to lose the page.
    let whole = entries.iter().filter(|entry| record::decode(entry.record).is_ok()).count();
    if whole == 0 && !entries.is_empty() {
        return Err(ValueError::Content);
    }
    page::last_seq(value)?;
    Ok(page::write(&entries))
}
