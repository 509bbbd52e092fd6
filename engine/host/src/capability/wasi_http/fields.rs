//! Headers, as `wasi:http` has them.

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue};
use phasegate_core::verdict::Pair;
use wasmtime::component::Resource;

use crate::bindings::wasi_http::wasi::http::types::{self, HeaderError};
use crate::capability::exchange::{CREDENTIAL_HEADER, is_reserved};
use crate::limits::{HEADER_BYTES, HEADERS};
use crate::state::State;

/// A header that clients set by themselves. It is compared with the body and not sent: the engine
/// knows the length.
pub(super) const CONTENT_LENGTH: &str = "content-length";

type Entry = (String, Vec<u8>);

/// Headers in their order. Those of a request or an answer can't be changed.
#[derive(Default)]
pub struct Fields {
    entries: Arc<Vec<Entry>>,
    fixed: bool,
}

impl Fields {
    /// The headers of an answer.
    pub(super) fn of_answer(headers: Vec<Pair>) -> Self {
        let entries = headers
            .into_iter()
            .map(|Pair { name, value }| (name, value.into_bytes()))
            .collect();
        Self {
            entries: Arc::new(entries),
            fixed: true,
        }
    }

    /// The same headers, not to be changed any more.
    pub(super) fn fixed(&self) -> Self {
        Self {
            entries: Arc::clone(&self.entries),
            fixed: true,
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The values of a header, whatever the case of its name.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.entries
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(size).sum()
    }

    fn add(&mut self, entry: Entry) -> Result<(), HeaderError> {
        if self.fixed {
            return Err(HeaderError::Immutable);
        }
        // The contract has no better word for what is too much.
        if self.entries.len() >= HEADERS || size(&entry) > HEADER_BYTES {
            return Err(HeaderError::Forbidden);
        }
        let (name, value) = &entry;
        let checked = HeaderName::from_bytes(name.as_bytes());
        let checked = checked.map_err(|_| HeaderError::InvalidSyntax)?;
        HeaderValue::from_bytes(value).map_err(|_| HeaderError::InvalidSyntax)?;
        // These two say something to the engine, which takes them out.
        let meant = [CONTENT_LENGTH, CREDENTIAL_HEADER].contains(&checked.as_str());
        if is_reserved(checked.as_str()) && !meant {
            return Err(HeaderError::Forbidden);
        }
        Arc::make_mut(&mut self.entries).push(entry);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), HeaderError> {
        if self.fixed {
            return Err(HeaderError::Immutable);
        }
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::InvalidSyntax)?;
        Arc::make_mut(&mut self.entries).retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        Ok(())
    }
}

fn size((name, value): &Entry) -> usize {
    name.len().saturating_add(value.len())
}

impl types::HostFields for State {
    fn new(&mut self) -> wasmtime::Result<Resource<Fields>> {
        Ok(self.table.push(Fields::default())?)
    }

    fn from_list(
        &mut self,
        entries: Vec<Entry>,
    ) -> wasmtime::Result<Result<Resource<Fields>, HeaderError>> {
        let mut fields = Fields::default();
        for entry in entries {
            self.meter.outbox().put(size(&entry))?;
            if let Err(error) = fields.add(entry) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(self.table.push(fields)?))
    }

    fn get(&mut self, this: Resource<Fields>, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        let fields = self.table.get(&this)?;
        Ok(fields.values(&name).map(<[u8]>::to_vec).collect())
    }

    fn has(&mut self, this: Resource<Fields>, name: String) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.values(&name).next().is_some())
    }

    fn set(
        &mut self,
        this: Resource<Fields>,
        name: String,
        values: Vec<Vec<u8>>,
    ) -> wasmtime::Result<Result<(), HeaderError>> {
        let outbox = self.meter.outbox();
        let fields = self.table.get_mut(&this)?;
        let before = Arc::clone(&fields.entries);
        let mut set = fields.remove(&name);
        for value in values {
            let entry = (name.clone(), value);
            outbox.put(size(&entry))?;
            set = set.and_then(|()| fields.add(entry));
        }
        if set.is_err() {
            fields.entries = before;
        }
        Ok(set)
    }

    fn delete(
        &mut self,
        this: Resource<Fields>,
        name: String,
    ) -> wasmtime::Result<Result<(), HeaderError>> {
        Ok(self.table.get_mut(&this)?.remove(&name))
    }

    fn append(
        &mut self,
        this: Resource<Fields>,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), HeaderError>> {
        let entry = (name, value);
        self.meter.outbox().put(size(&entry))?;
        Ok(self.table.get_mut(&this)?.add(entry))
    }

    fn entries(&mut self, this: Resource<Fields>) -> wasmtime::Result<Vec<Entry>> {
        Ok(self.table.get(&this)?.entries().to_vec())
    }

    fn clone(&mut self, this: Resource<Fields>) -> wasmtime::Result<Resource<Fields>> {
        let fields = self.table.get(&this)?;
        self.meter.outbox().put(fields.bytes())?;
        let copy = Fields {
            entries: Arc::new(fields.entries().to_vec()),
            fixed: false,
        };
        Ok(self.table.push(copy)?)
    }

    fn drop(&mut self, this: Resource<Fields>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_steer_a_request_are_forbidden_and_those_the_engine_reads_are_not() {
        let mut fields = Fields::default();
        let mut add = |name: &str, value: &str| fields.add((name.into(), value.into()));
        for good in ["Accept", "Content-Length", "Phasegate-Credential"] {
            assert!(add(good, "1").is_ok(), "{good}");
        }
        for bad in ["Host", "transfer-encoding", "Proxy-Authorization", "TE"] {
            assert!(
                matches!(add(bad, "x"), Err(HeaderError::Forbidden)),
                "{bad}"
            );
        }
        for (name, value) in [("a b", "x"), ("x", "a\r\nHost: evil"), ("", "x")] {
            let added = add(name, value);
            assert!(matches!(added, Err(HeaderError::InvalidSyntax)), "{name}");
        }
        let long = "y".repeat(HEADER_BYTES);
        assert!(matches!(add("x", &long), Err(HeaderError::Forbidden)));
    }

    #[test]
    fn there_are_only_so_many_headers_and_those_of_an_answer_stay() {
        let mut fields = Fields::default();
        for n in 0..HEADERS {
            fields.add((format!("x-{n}"), Vec::new())).unwrap();
        }
        let another = fields.add(("x".into(), Vec::new()));
        assert!(matches!(another, Err(HeaderError::Forbidden)));
        fields.remove("X-0").unwrap();
        assert_eq!(fields.values("x-0").count(), 0);

        let mut answer = Fields::of_answer(vec![Pair::new("Etag", "1")]);
        assert_eq!(answer.values("etag").next(), Some(&b"1"[..]));
        assert!(matches!(answer.remove("etag"), Err(HeaderError::Immutable)));
        let added = answer.add(("x".into(), Vec::new()));
        assert!(matches!(added, Err(HeaderError::Immutable)));
    }
}
