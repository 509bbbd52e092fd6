//! Objects without `metadata.managedFields`: the bookkeeping of who owns which field is often longer than the
//! object itself, and hardly anybody who reads one asks for it.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

const METADATA: &str = "metadata";
const MANAGED_FIELDS: &str = "managedFields";

/// JSON, without the managed fields of all objects in it.
pub(super) struct Lean(pub(super) Value);

impl<'de> Deserialize<'de> for Lean {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Inner { metadata: false }.deserialize(from).map(Self)
    }
}

/// A value, and whether it is an object's metadata.
struct Inner {
    metadata: bool,
}

impl<'de> DeserializeSeed<'de> for Inner {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inner {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Self { metadata: false })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            if self.metadata && name == MANAGED_FIELDS {
                from.next_value::<IgnoredAny>()?;
                continue;
            }
            let metadata = name == METADATA;
            let value = from.next_value_seed(Self { metadata })?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_is_kept_but_the_managed_fields_of_objects() {
        let object = |managed: bool| {
            let mut object = json!({
                "metadata": {"name": "web", "labels": {"a": "b", "managedFields": "a label"}},
                "spec": {"managedFields": [1, -2, 2.5, true, null, "x"]},
            });
            if managed {
                object["metadata"]["managedFields"] =
                    json!([{"manager": "helm", "fieldsV1": {"f:spec": {}}}]);
            }
            object
        };
        for (given, expected) in [
            (object(true), object(false)),
            (
                json!({"items": [object(true), object(true)]}),
                json!({"items": [object(false), object(false)]}),
            ),
            (json!([]), json!([])),
        ] {
            let Lean(read) = serde_json::from_str(&given.to_string()).unwrap();
            assert_eq!(read, expected);
        }
        let broken = serde_json::from_str::<Lean>("{\"metadata\": {\"managedFields\": [}}");
        assert!(broken.is_err());
    }
}
