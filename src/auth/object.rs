//! One JSON object, read strictly: what a token's header and its claims have in common.
//!
//! Refused: anything but one object, a name that comes twice (in nested objects too), more members
//! or more depth than allowed, numbers that are not finite. It gives no meaning to names.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use super::Why;
use crate::limits::{TOKEN_DEPTH_MAX, TOKEN_MEMBERS_MAX};

/// A member's value, as far as a token needs it: objects inside are checked and forgotten.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool,
    Unsigned(u64),
    Negative,
    /// Finite, and no integer that fits in 64 bits.
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object,
}

impl Value<'_> {
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Hands each member to `member`, in order. The first refusal ends it.
pub(super) fn read<'a>(
    json: &'a [u8],
    mut member: impl FnMut(&str, Value<'a>) -> Result<(), Why>,
) -> Result<(), Why> {
    let text = std::str::from_utf8(json).map_err(|_| Why::Json)?;
    // serde's errors carry text; ours is a plain word, so it takes a way of its own.
    let why = Cell::new(Why::Json);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = Members { each: &mut member, why: &why, depth: 1 };
    deserializer.deserialize_map(members).map_err(|_| why.get())?;
    deserializer.end().map_err(|_| Why::Json)
}

/// Visits the members of one object.
struct Members<'w, F> {
    each: &'w mut F,
    why: &'w Cell<Why>,
    depth: usize,
}

impl<'de, F> Visitor<'de> for Members<'_, F>
where
    F: FnMut(&str, Value<'de>) -> Result<(), Why>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let refuse = |why| {
            self.why.set(why);
            A::Error::custom("refused")
        };
        let mut names: SmallVec<[Cow<'de, str>; 16]> = SmallVec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            if names.contains(&name) {
                return Err(refuse(Why::DuplicateName));
            }
            if names.len() == TOKEN_MEMBERS_MAX {
                return Err(refuse(Why::TooManyMembers));
            }
            let value = map.next_value_seed(Nested { why: self.why, depth: self.depth })?;
            (self.each)(&name, value).map_err(refuse)?;
            names.push(name);
        }
        Ok(())
    }
}

/// Reads a member's name: borrowed, unless it was written with escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads a value that lies `depth` levels deep.
#[derive(Clone, Copy)]
struct Nested<'w> {
    why: &'w Cell<Why>,
    depth: usize,
}

impl<'w> Nested<'w> {
    fn deeper<E: Error>(self) -> Result<Nested<'w>, E> {
        if self.depth == TOKEN_DEPTH_MAX {
            self.why.set(Why::TooDeep);
            return Err(E::custom("refused"));
        }
        Ok(Nested { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Unsigned(number))
    }

    // serde_json calls this for negative numbers only.
    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(u64::try_from(number).map_or(Value::Negative, Value::Unsigned))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
        if number.is_finite() { Ok(Value::Float(number)) } else { Err(E::custom("not finite")) }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut forget = |_: &str, _: Value<'de>| Ok(());
        Members { each: &mut forget, why: inner.why, depth: inner.depth }.visit_map(map)?;
        Ok(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Result<&[(&str, Value<'static>)], Why>) {
        let mut seen = Vec::new();
        let result = read(json.as_bytes(), |name, value| {
            seen.push((name.to_owned(), value));
            Ok(())
        });
        match (result, expected) {
            (Ok(()), Ok(members)) => {
                let seen: Vec<_> = seen.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
                assert_eq!(seen, members, "{json}");
            }
            (result, expected) => assert_eq!(result.err(), expected.err(), "{json}"),
        }
    }

    fn nested(open: &str, close: &str, levels: usize) -> String {
        format!("{{\"a\":{}1{}}}", open.repeat(levels), close.repeat(levels))
    }

    #[test]
    fn values_keep_what_a_token_needs() {
        let text = |text: &'static str| Value::Text(Cow::Borrowed(text));
        check("{}", Ok(&[]));
        check(r#" {"a":null,"b":true} "#, Ok(&[("a", Value::Null), ("b", Value::Bool)]));
        check(r#"{"a":0,"b":-1}"#, Ok(&[("a", Value::Unsigned(0)), ("b", Value::Negative)]));
        check(r#"{"a":18446744073709551615}"#, Ok(&[("a", Value::Unsigned(u64::MAX))]));
        check(r#"{"a":18446744073709551616}"#, Ok(&[("a", Value::Float(18446744073709551616.0))]));
        check(r#"{"a":1.5,"b":1e3}"#, Ok(&[("a", Value::Float(1.5)), ("b", Value::Float(1e3))]));
        check(r#"{"\u0061":"\u00e9\n"}"#, Ok(&[("a", text("é\n"))]));
        check(r#"{"a":["x",{"b":[]}]}"#, Ok(&[("a", Value::List(vec![text("x"), Value::Object]))]));
    }

    #[test]
    fn anything_but_one_strict_object_is_refused() {
        for json in [
            "",
            " ",
            "null",
            "1",
            "[]",
            r#""a""#,
            "{",
            "{}{}",
            "{} x",
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            "{a:1}",
            r#"{'a':1}"#,
            r#"{1:1}"#,
            "\u{feff}{}",
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":-Infinity}"#,
            r#"{"a":1e400}"#,
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":[1e400]}"#,
        ] {
            check(json, Err(Why::Json));
        }
        assert_eq!(read(b"{\"a\":\"\xff\"}", |_, _| Ok(())), Err(Why::Json));
    }

    #[test]
    fn a_name_comes_once_however_it_is_written() {
        check(r#"{"a":1,"a":1}"#, Err(Why::DuplicateName));
        check(r#"{"a":1,"b":2,"\u0061":3}"#, Err(Why::DuplicateName));
        check(r#"{"a":{"b":1,"b":2}}"#, Err(Why::DuplicateName));
        check(r#"{"a":[[{"b":1,"b":2}]]}"#, Err(Why::DuplicateName));
        check(r#"{"a":1,"A":1}"#, Ok(&[("a", Value::Unsigned(1)), ("A", Value::Unsigned(1))]));
    }

    #[test]
    fn members_and_depth_are_bounded() {
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!("\"k{n}\":{n}")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(read(members(TOKEN_MEMBERS_MAX).as_bytes(), |_, _| Ok(())), Ok(()));
        check(&members(TOKEN_MEMBERS_MAX + 1), Err(Why::TooManyMembers));
        for (open, close) in [("[", "]"), ("{\"b\":", "}")] {
            let deepest = nested(open, close, TOKEN_DEPTH_MAX - 1);
            assert_eq!(read(deepest.as_bytes(), |_, _| Ok(())), Ok(()), "{deepest}");
            check(&nested(open, close, TOKEN_DEPTH_MAX), Err(Why::TooDeep));
            check(&nested(open, close, 500), Err(Why::TooDeep));
        }
    }

    #[test]
    fn a_refusal_ends_the_reading() {
        let mut seen = 0;
        let result = read(br#"{"a":1,"b":2}"#, |_, _| {
            seen += 1;
            Err(Why::TokenId)
        });
        assert_eq!((result, seen), (Err(Why::TokenId), 1));
    }
}
