//! Whether a value is a tuple: a serializer that stops, with the answer, at the first call.

use std::fmt;

use serde::Serialize;
use serde::ser::{Error, Impossible, Serializer};

/// How many arguments a value represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `()`: none.
    None,
    /// A tuple: one for each member.
    Spread,
    /// Itself.
    One,
}

pub(super) fn of<T: Serialize + ?Sized>(args: &T) -> Shape {
    match args.serialize(Probe) {
        // A null inside of a value, such as `Value::Null`, serializes as `()` does, but has a size.
        Err(Answer(Shape::None)) if size_of_val(args) > 0 => Shape::One,
        Err(Answer(shape)) => shape,
        Ok(never) => match never {},
    }
}

enum Never {}

/// The answer, returned as the error that stops the serialization. A value whose own serialization fails fails again, with its own message,
/// when it is written.
#[derive(Debug)]
struct Answer(Shape);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Answer {}

impl Error for Answer {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(Shape::One)
    }
}

struct Probe;

const ONE: Answer = Answer(Shape::One);

macro_rules! one {
    ($($method:ident($($type:ty),*);)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<Never, Answer> {
            Err(ONE)
        }
    )*};
}

impl Serializer for Probe {
    type Ok = Never;
    type Error = Answer;
    type SerializeSeq = Impossible<Never, Answer>;
    type SerializeTuple = Impossible<Never, Answer>;
    type SerializeTupleStruct = Impossible<Never, Answer>;
    type SerializeTupleVariant = Impossible<Never, Answer>;
    type SerializeMap = Impossible<Never, Answer>;
    type SerializeStruct = Impossible<Never, Answer>;
    type SerializeStructVariant = Impossible<Never, Answer>;

    fn serialize_unit(self) -> Result<Never, Answer> {
        Err(Answer(Shape::None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Answer> {
        Err(Answer(Shape::Spread))
    }

    one! {
        serialize_bool(bool); serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_i128(i128); serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_u128(u128); serialize_f32(f32); serialize_f64(f64); serialize_char(char); serialize_str(&str);
        serialize_bytes(&[u8]); serialize_none(); serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Never, Answer> {
        Err(ONE)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<Never, Answer> {
        Err(ONE)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Never, Answer> {
        Err(ONE)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Answer> {
        Err(ONE)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Answer> {
        Err(ONE)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Answer> {
        Err(ONE)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Answer> {
        Err(ONE)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Answer> {
        Err(ONE)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Answer> {
        Err(ONE)
    }
}
