//! What only a server needs. Plugins answer no requests, so that none of these things ever exists;
//! the interface is linked as a whole for those languages that import it as a whole.

use wasmtime::component::Resource;
use wasmtime::format_err;

use super::{Fields, IncomingBody, OutgoingBody};
use crate::bindings::wasi_http::wasi::http::types::{self, ErrorCode, Method, Scheme};
use crate::state::State;

/// A request to a plugin.
pub enum IncomingRequest {}
/// A plugin's answer.
pub enum OutgoingResponse {}
/// Where that answer would go.
pub enum ResponseOutparam {}

impl types::HostIncomingRequest for State {
    fn method(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Method> {
        match *self.table.get(&this)? {}
    }

    fn path_with_query(
        &mut self,
        this: Resource<IncomingRequest>,
    ) -> wasmtime::Result<Option<String>> {
        match *self.table.get(&this)? {}
    }

    fn scheme(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Option<Scheme>> {
        match *self.table.get(&this)? {}
    }

    fn authority(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Option<String>> {
        match *self.table.get(&this)? {}
    }

    fn headers(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Resource<Fields>> {
        match *self.table.get(&this)? {}
    }

    fn consume(
        &mut self,
        this: Resource<IncomingRequest>,
    ) -> wasmtime::Result<Result<Resource<IncomingBody>, ()>> {
        match *self.table.get(&this)? {}
    }

    fn drop(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<()> {
        match self.table.delete(this)? {}
    }
}

impl types::HostOutgoingResponse for State {
    fn new(&mut self, _headers: Resource<Fields>) -> wasmtime::Result<Resource<OutgoingResponse>> {
        Err(format_err!("a plugin answers no HTTP requests"))
    }

    fn status_code(&mut self, this: Resource<OutgoingResponse>) -> wasmtime::Result<u16> {
        match *self.table.get(&this)? {}
    }

    fn set_status_code(
        &mut self,
        this: Resource<OutgoingResponse>,
        _status: u16,
    ) -> wasmtime::Result<Result<(), ()>> {
        match *self.table.get(&this)? {}
    }

    fn headers(&mut self, this: Resource<OutgoingResponse>) -> wasmtime::Result<Resource<Fields>> {
        match *self.table.get(&this)? {}
    }

    fn body(
        &mut self,
        this: Resource<OutgoingResponse>,
    ) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
        match *self.table.get(&this)? {}
    }

    fn drop(&mut self, this: Resource<OutgoingResponse>) -> wasmtime::Result<()> {
        match self.table.delete(this)? {}
    }
}

impl types::HostResponseOutparam for State {
    fn send_informational(
        &mut self,
        this: Resource<ResponseOutparam>,
        _status: u16,
        _headers: Resource<Fields>,
    ) -> wasmtime::Result<Result<(), ErrorCode>> {
        match *self.table.get(&this)? {}
    }

    fn set(
        &mut self,
        this: Resource<ResponseOutparam>,
        _response: Result<Resource<OutgoingResponse>, ErrorCode>,
    ) -> wasmtime::Result<()> {
        match self.table.delete(this)? {}
    }

    fn drop(&mut self, this: Resource<ResponseOutparam>) -> wasmtime::Result<()> {
        match self.table.delete(this)? {}
    }
}
