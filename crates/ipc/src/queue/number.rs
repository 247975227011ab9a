//! Messages that are one number each, as most short ones are: they travel in a register, without a format.

use serde::{
    Deserializer, Serialize, Serializer,
    de::{
        self, DeserializeOwned, Error as _, IntoDeserializer, Visitor,
        value::{Error as DecodeError, U32Deserializer},
    },
    forward_to_deserialize_any,
    ser::{self, Impossible},
};

/// The number that `value` is: an integer, a float, a character, a truth value, or a variant without fields.
#[inline]
pub(crate) fn of<T: Serialize + DeserializeOwned>(value: &T) -> Option<u64> {
    value.serialize(Teller).ok()
}

/// The value that `number` is.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(number: u64) -> Result<T, DecodeError> {
    T::deserialize(NumberReader(number))
}

/// Takes one number, and nothing else.
struct Teller;

#[derive(Debug)]
struct NoNumber;

impl std::fmt::Display for NoNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a number")
    }
}

impl std::error::Error for NoNumber {}

impl ser::Error for NoNumber {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

type Told = Result<u64, NoNumber>;
type Never = Impossible<u64, NoNumber>;

impl Serializer for Teller {
    type Ok = u64;
    type Error = NoNumber;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Told {
        Ok(value.into())
    }

    fn serialize_i8(self, value: i8) -> Told {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Told {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Told {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Told {
        Ok(value.cast_unsigned())
    }

    fn serialize_u8(self, value: u8) -> Told {
        Ok(value.into())
    }

    fn serialize_u16(self, value: u16) -> Told {
        Ok(value.into())
    }

    fn serialize_u32(self, value: u32) -> Told {
        Ok(value.into())
    }

    fn serialize_u64(self, value: u64) -> Told {
        Ok(value)
    }

    fn serialize_f32(self, value: f32) -> Told {
        Ok(value.to_bits().into())
    }

    fn serialize_f64(self, value: f64) -> Told {
        Ok(value.to_bits())
    }

    fn serialize_char(self, value: char) -> Told {
        Ok(value.into())
    }

    fn serialize_str(self, _: &str) -> Told {
        Err(NoNumber)
    }

    fn serialize_bytes(self, _: &[u8]) -> Told {
        Err(NoNumber)
    }

    fn serialize_none(self) -> Told {
        Err(NoNumber)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Told {
        Err(NoNumber)
    }

    fn serialize_unit(self) -> Told {
        Ok(0)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Told {
        Ok(0)
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Told {
        Ok(index.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Told {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, _: &'static str, _: &T) -> Told {
        Err(NoNumber)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Never, NoNumber> {
        Err(NoNumber)
    }

    fn serialize_tuple(self, _: usize) -> Result<Never, NoNumber> {
        Err(NoNumber)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, NoNumber> {
        Err(NoNumber)
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Never, NoNumber> {
        Err(NoNumber)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never, NoNumber> {
        Err(NoNumber)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Never, NoNumber> {
        Err(NoNumber)
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Never, NoNumber> {
        Err(NoNumber)
    }
}

/// Gives its number as whatever it is asked for.
struct NumberReader(u64);

impl NumberReader {
    fn fit<N: TryFrom<u64>>(self) -> Result<N, DecodeError> {
        N::try_from(self.0).map_err(|_| DecodeError::custom("the number is out of range"))
    }

    fn fit_signed<N: TryFrom<i64>>(self) -> Result<N, DecodeError> {
        N::try_from(self.0.cast_signed()).map_err(|_| DecodeError::custom("the number is out of range"))
    }
}

impl<'de> Deserializer<'de> for NumberReader {
    type Error = DecodeError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::invalid_type(de::Unexpected::Unsigned(self.0), &visitor))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            0 | 1 => visitor.visit_bool(self.0 == 1),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i8(self.fit_signed()?)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i16(self.fit_signed()?)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i32(self.fit_signed()?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i64(self.0.cast_signed())
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u8(self.fit()?)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u16(self.fit()?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u32(self.fit()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u64(self.0)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f32(f32::from_bits(self.fit()?))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(f64::from_bits(self.0))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match u32::try_from(self.0).ok().and_then(char::from_u32) {
            Some(value) => visitor.visit_char(value),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let variant: U32Deserializer<DecodeError> = self.fit::<u32>()?.into_deserializer();
        visitor.visit_enum(variant)
    }

    forward_to_deserialize_any! {
        i128 u128 str string bytes byte_buf option seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroI16;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Order {
        Stop,
        Go(u32),
        Wait,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Price(f32);

    fn comes_back<T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> bool {
        of(value).is_some_and(|number| decode::<T>(number).unwrap() == *value)
    }

    #[test]
    fn numbers_come_back() {
        assert!(comes_back(&u64::MAX) && comes_back(&i64::MIN) && comes_back(&-1_i8) && comes_back(&usize::MAX));
        assert!(comes_back(&true) && comes_back(&'ß') && comes_back(&f64::MIN_POSITIVE) && comes_back(&Price(0.1)));
        assert!(comes_back(&()) && comes_back(&Order::Wait) && comes_back(&NonZeroI16::MIN));
    }

    #[test]
    fn what_is_no_number_says_so() {
        assert!(of(&Order::Go(1)).is_none() && of(&Some(1_u8)).is_none() && of(&(1_u8, 2_u8)).is_none());
    }

    #[test]
    fn numbers_out_of_range_are_errors() {
        assert!(decode::<u8>(256).is_err() && decode::<bool>(2).is_err() && decode::<char>(0xD800).is_err());
        assert!(decode::<Order>(3).is_err() && decode::<Order>(1).is_err() && decode::<String>(0).is_err());
        assert!(decode::<NonZeroI16>(0).is_err() && decode::<Option<u8>>(0).is_err());
    }
}
