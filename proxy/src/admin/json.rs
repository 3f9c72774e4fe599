//! JSON without ambiguity.
//!
//! Of a field that is there twice, serde_json takes the last; other programs the first (RFC 8259, 4).
//! A change of settings must not depend on that, so it is refused.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use weir_api::settings::Path;

/// Reads a value.
///
/// # Errors
/// Text that is not JSON, and fields that are there twice; the message has line and column.
pub(super) fn read(text: &[u8]) -> serde_json::Result<Value> {
    let mut source = serde_json::Deserializer::from_slice(text);
    let value = At(Path::root()).deserialize(&mut source)?;
    source.end()?;
    Ok(value)
}

/// Reads what is at a place.
struct At(Path);

impl<'de> DeserializeSeed<'de> for At {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E: Error>(self, it: i64) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_u64<E: Error>(self, it: u64) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_f64<E: Error>(self, it: f64) -> Result<Value, E> {
        Ok(Number::from_f64(it).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = source.next_element_seed(At(self.0.index(items.len())))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = source.next_key::<String>()? {
            let path = self.0.key(&name);
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("{path} is there twice")));
            }
            object.insert(name, source.next_value_seed(At(path))?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_that_is_there_twice_is_named() {
        for (text, says) in [
            (r#"{"a":1,"a":1}"#, "a is there twice"),
            (
                "{\"t\":{\"connect\":\"1s\",\n\"connect\":\"2s\"}}",
                "t.connect is there twice at line 2",
            ),
            (r#"{"l":[{},{"x":1,"y":2,"x":3}]}"#, "l[1].x is there twice"),
            (r#"{"a":1,"\u0061":2}"#, "a is there twice"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(read(br#"{"a":{"x":1},"b":{"x":1}}"#).is_ok());
    }

    proptest! {
        /// Everything else is as serde_json has it, errors too.
        #[test]
        fn it_reads_as_serde_json(text in r#"([\[\]{}:,"a-c0-9. \-en]|null|true){0,24}"#) {
            let theirs = serde_json::from_str::<Value>(&text);
            match read(text.as_bytes()) {
                Ok(ours) => prop_assert_eq!(ours, theirs.unwrap()),
                Err(error) => prop_assert!(theirs.is_err() || error.to_string().contains("twice")),
            }
        }
    }
}
