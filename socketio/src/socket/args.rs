//! The arguments of events and acknowledgements: converts between an array in JSON text and the parameters of handlers.
//!
//! Sending: a tuple becomes several arguments, anything else is one ([`write()`]). Receiving: a tuple takes all arguments, anything else
//! takes the first ([`read`]). Serde's data model distinguishes tuples, so users need no trait and no macro. Serde treats fixed-size arrays
//! as tuples, too.

use std::borrow::Cow;
use std::fmt;
use std::vec;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};
use serde_json::Error;
use serde_json::value::RawValue;

use super::reserved::is_reserved;
use crate::value::{Value, json};

mod shape;

/// Writes `["name",…args]`, or `[…args]` without a name: the text, and the attachments of its placeholders.
pub(super) fn write<T: Serialize + ?Sized>(name: Option<&str>, args: &T) -> Result<(ByteString, Vec<Bytes>), Error> {
    let mut text = Vec::with_capacity(64);
    let mut attachments = Vec::new();
    text.push(b'[');
    if let Some(name) = name {
        serde_json::to_writer(&mut text, name)?;
    }
    match shape::of(args) {
        shape::Shape::None => text.push(b']'),
        shape::Shape::Spread => {
            // The tuple writes itself as `[a,b]`. Its bracket becomes ours, or the comma behind the name.
            let at = text.len();
            json::write_to(&mut text, &mut attachments, args)?;
            if name.is_some() && text.get(at + 1) != Some(&b']') {
                text[at] = b',';
            } else {
                text.remove(at);
            }
        }
        shape::Shape::One => {
            if name.is_some() {
                text.push(b',');
            }
            json::write_to(&mut text, &mut attachments, args)?;
            text.push(b']');
        }
    }
    let text = json::into_string(text)?;
    Ok((text.into(), attachments))
}

/// Reads the items of the array `json` behind the first `skip` of them.
pub(super) fn read<T: DeserializeOwned>(json: &str, attachments: &[Bytes], skip: usize) -> Result<T, Error> {
    if attachments.is_empty() {
        let items: Vec<&RawValue> = serde_json::from_str(json)?;
        T::deserialize(Args::new(items, skip))
    } else {
        match json::parse(json, attachments)? {
            Value::Array(items) => T::deserialize(Args::new(items, skip)),
            _ => Err(Error::custom("the payload is not an array")),
        }
    }
}

/// The name of the event whose payload this is: a string, or a number's digits.
pub(super) fn name(json: &str) -> Option<Cow<'_, str>> {
    // Reads the first item alone: what follows it is neither looked at nor checked.
    first_name(json.trim_start().strip_prefix('[')?)
}

/// The name at the beginning of `text`. An unpaired surrogate, which Rust strings cannot contain, becomes U+FFFD.
fn first_name(text: &str) -> Option<Cow<'_, str>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    Name::deserialize(&mut reader).ok().map(|name| name.0).or_else(|| json::lossy_text(text.trim_start()))
}

/// Appends a string to the array in `json`; anything but an array is given back as it is.
pub(super) fn append_string(json: &ByteString, arg: &str) -> ByteString {
    let trimmed = json.trim_end();
    let (Some(head), Ok(arg)) = (trimmed.strip_suffix(']'), serde_json::to_string(arg)) else {
        return json.clone();
    };
    let mut out = String::with_capacity(json.len() + arg.len() + 1);
    out.push_str(head);
    if !head.trim_end().ends_with('[') {
        out.push(',');
    }
    out.push_str(&arg);
    out.push(']');
    out.into()
}

/// Whether `json` is an array that begins with the name of an event, and not a reserved one. Reads it all.
pub(super) fn check_event(json: &str) -> Result<(), Error> {
    struct Event;

    impl<'de> Visitor<'de> for Event {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array that begins with the name of an event")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            let Some(first) = seq.next_element::<&RawValue>()? else { return Err(A::Error::invalid_length(0, &self)) };
            match first_name(first.get()) {
                Some(name) if is_reserved(&name) => return Err(A::Error::custom("reserved event name")),
                Some(_) => {}
                None => return Err(A::Error::custom("the name of an event is a string or a number")),
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(())
        }
    }

    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_seq(Event)?;
    reader.end()
}

/// Whether `json` is an array. Reads it all.
pub(super) fn check_array(json: &str) -> Result<(), Error> {
    struct Array;

    impl<'de> Visitor<'de> for Array {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(())
        }
    }

    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_seq(Array)?;
    reader.end()
}

/// If the name is a number, JavaScript uses its digits.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an event")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(number.to_string())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(number.to_string())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(number.to_string())))
            }
        }

        deserializer.deserialize_any(NameVisitor)
    }
}

/// The arguments that were received, as a deserializer of the user's parameters.
struct Args<I> {
    items: vec::IntoIter<I>,
}

impl<I> Args<I> {
    fn new(items: Vec<I>, skip: usize) -> Self {
        let mut items = items.into_iter();
        items.by_ref().take(skip).for_each(drop);
        Self { items }
    }
}

/// Everything but a tuple and `()` reads the first argument.
macro_rules! first_argument {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, $($name: $type,)* visitor: V) -> Result<V::Value, Error> {
            match self.items.next() {
                Some(item) => item.$method($($name,)* visitor),
                None => Absent.$method($($name,)* visitor),
            }
        }
    )*};
}

impl<'de, I> Deserializer<'de> for Args<I>
where
    I: Deserializer<'de, Error = Error>,
{
    type Error = Error;

    fn deserialize_tuple<V: Visitor<'de>>(mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        SeqAccessDeserializer::new(Spread { items: self.items.by_ref(), left: len }).deserialize_any(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    first_argument! {
        deserialize_any(); deserialize_bool(); deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64();
        deserialize_i128(); deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64(); deserialize_u128();
        deserialize_f32(); deserialize_f64(); deserialize_char(); deserialize_str(); deserialize_string(); deserialize_bytes();
        deserialize_byte_buf(); deserialize_option(); deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str); deserialize_seq();
        deserialize_tuple_struct(name: &'static str, len: usize); deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]); deserialize_identifier();
        deserialize_ignored_any();
    }
}

/// The length of a tuple that takes as many arguments as there are.
pub(crate) const ALL: usize = usize::MAX;

/// The arguments as members of a tuple: as many as it asks for, absent ones included unless it asks for [`ALL`].
struct Spread<'a, I> {
    items: &'a mut vec::IntoIter<I>,
    left: usize,
}

impl<'de, I> SeqAccess<'de> for Spread<'_, I>
where
    I: Deserializer<'de, Error = Error>,
{
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Ok(None),
        }
        match self.items.next() {
            Some(item) => seed.deserialize(item),
            None if self.left > ALL / 2 => return Ok(None),
            None => seed.deserialize(Absent),
        }
        .map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.items.len()))
    }
}

/// An argument that was not given: `None` for those who can do without.
struct Absent;

impl<'de> Deserializer<'de> for Absent {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("an argument is missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit_struct newtype_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}
