//! Bodies: one that a plugin writes, and one that it reads. Both are there as a whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, InputStream, OutputStream, Pollable, StreamError,
    StreamResult, subscribe,
};

use super::fields::Fields;
use crate::bindings::wasi_http::wasi::http::types::{self, ErrorCode};
use crate::meter::Outbox;
use crate::state::State;

/// Bytes of a body that a plugin may write at once.
const WRITE_PERMIT: usize = 64 << 10;

/// The body of a request, shared between what writes it and what sends it.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Writing>>);

#[derive(Default)]
struct Writing {
    bytes: Vec<u8>,
    finished: bool,
    /// Why it will never be sent.
    broken: Option<ErrorCode>,
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, Writing> {
        // A holder that panicked left whole writes behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body once it is finished, or why it never will be. None while it is being written.
    pub(super) fn take(&self) -> Option<Result<Vec<u8>, ErrorCode>> {
        let mut writing = self.lock();
        if let Some(code) = &writing.broken {
            return Some(Err(code.clone()));
        }
        writing
            .finished
            .then(|| Ok(std::mem::take(&mut writing.bytes)))
    }
}

impl Writing {
    /// Nothing of it is sent any more, for this reason or for one that was there before.
    fn break_off(&mut self, code: ErrorCode) -> ErrorCode {
        self.bytes = Vec::new();
        self.broken.get_or_insert(code).clone()
    }
}

/// A plugin's hold on a body that it writes.
pub struct OutgoingBody {
    written: Written,
    writer: Option<Writer>,
    length: Option<u64>,
}

impl OutgoingBody {
    pub(super) fn new(written: Written, length: Option<u64>, most: usize, outbox: Outbox) -> Self {
        let writer = Writer {
            written: written.clone(),
            most,
            outbox,
        };
        Self {
            written,
            writer: Some(writer),
            length,
        }
    }

    fn finish(self, trailers: bool) -> Result<(), ErrorCode> {
        let mut writing = self.written.lock();
        let written = u64::try_from(writing.bytes.len()).unwrap_or(u64::MAX);
        let fault = if let Some(code) = &writing.broken {
            code.clone()
        } else if trailers {
            ErrorCode::InternalError(Some("trailers can't be sent".into()))
        } else if self.length.is_some_and(|length| length != written) {
            ErrorCode::HttpRequestBodySize(Some(written))
        } else {
            writing.finished = true;
            return Ok(());
        };
        Err(writing.break_off(fault))
    }
}

/// The stream that a body is written to.
struct Writer {
    written: Written,
    most: usize,
    outbox: Outbox,
}

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.outbox
            .put(bytes.len())
            .map_err(|stop| StreamError::Trap(stop.into()))?;
        let mut writing = self.written.lock();
        if writing.broken.is_some() {
            return Err(StreamError::Closed);
        }
        if writing.bytes.len().saturating_add(bytes.len()) > self.most {
            let most = u64::try_from(self.most).unwrap_or(u64::MAX);
            let code = writing.break_off(ErrorCode::HttpRequestBodySize(Some(most)));
            return Err(StreamError::LastOperationFailed(code.into()));
        }
        writing.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match &self.written.lock().broken {
            Some(_) => Err(StreamError::Closed),
            None => Ok(WRITE_PERMIT),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

impl types::HostOutgoingBody for State {
    fn write(
        &mut self,
        this: Resource<OutgoingBody>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let Some(writer) = self.table.get_mut(&this)?.writer.take() else {
            return Ok(Err(()));
        };
        let stream: DynOutputStream = Box::new(writer);
        Ok(Ok(self.table.push_child(stream, &this)?))
    }

    fn finish(
        &mut self,
        this: Resource<OutgoingBody>,
        trailers: Option<Resource<Fields>>,
    ) -> wasmtime::Result<Result<(), ErrorCode>> {
        let trailers = match trailers {
            Some(trailers) => !self.table.delete(trailers)?.entries().is_empty(),
            None => false,
        };
        Ok(self.table.delete(this)?.finish(trailers))
    }

    fn drop(&mut self, this: Resource<OutgoingBody>) -> wasmtime::Result<()> {
        let body = self.table.delete(this)?;
        body.written.lock().break_off(ErrorCode::HttpProtocolError);
        Ok(())
    }
}

/// The body of an answer.
pub struct IncomingBody {
    reader: Option<Reader>,
    cut: Option<ErrorCode>,
}

impl IncomingBody {
    /// These bytes, and where there were more of them the error with which they end.
    pub(super) fn new(bytes: Vec<u8>, cut: Option<ErrorCode>) -> Self {
        let reader = Reader {
            bytes: bytes.into(),
            cut: cut.clone(),
        };
        Self {
            reader: Some(reader),
            cut,
        }
    }
}

/// The stream that a body is read from.
struct Reader {
    bytes: Bytes,
    cut: Option<ErrorCode>,
}

impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if !self.bytes.is_empty() {
            let size = size.min(self.bytes.len());
            return Ok(self.bytes.split_to(size));
        }
        match self.cut.take() {
            Some(code) => Err(StreamError::LastOperationFailed(code.into())),
            None => Err(StreamError::Closed),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {}
}

/// What comes after a body: never trailers, for the port knows none.
pub struct FutureTrailers {
    end: Option<Result<(), ErrorCode>>,
}

#[async_trait::async_trait]
impl Pollable for FutureTrailers {
    async fn ready(&mut self) {}
}

impl types::HostIncomingBody for State {
    fn stream(
        &mut self,
        this: Resource<IncomingBody>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, ()>> {
        let Some(reader) = self.table.get_mut(&this)?.reader.take() else {
            return Ok(Err(()));
        };
        let stream: DynInputStream = Box::new(reader);
        Ok(Ok(self.table.push_child(stream, &this)?))
    }

    fn finish(
        &mut self,
        this: Resource<IncomingBody>,
    ) -> wasmtime::Result<Resource<FutureTrailers>> {
        let body = self.table.delete(this)?;
        let end = Some(body.cut.map_or(Ok(()), Err));
        Ok(self.table.push(FutureTrailers { end })?)
    }

    fn drop(&mut self, this: Resource<IncomingBody>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// Trailers that there may be, or why there is no more of the body.
type Trailers = Result<Option<Resource<Fields>>, ErrorCode>;

impl types::HostFutureTrailers for State {
    fn subscribe(
        &mut self,
        this: Resource<FutureTrailers>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn get(
        &mut self,
        this: Resource<FutureTrailers>,
    ) -> wasmtime::Result<Option<Result<Trailers, ()>>> {
        let end = self.table.get_mut(&this)?.end.take();
        Ok(Some(end.ok_or(()).map(|end| end.map(|()| None))))
    }

    fn drop(&mut self, this: Resource<FutureTrailers>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
