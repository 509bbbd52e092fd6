//! What one call of a plugin may use. Every limit is on by default; the operator may set each.

use phasegate_core::time::Span;
use serde::{Deserialize, Serialize};

/// Linear memory of one call, all memories together.
pub const MEMORY_BYTES: usize = 64 << 20;
/// Linear memories of one call.
pub const MEMORIES: usize = 8;
/// Tables of one call. A Python plugin has a dozen.
pub const TABLES: usize = 64;
/// Core instances of one call. A Python plugin has about forty.
pub const INSTANCES: usize = 256;
/// Elements of one table.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Time that a plugin may compute within one call, in real time.
pub const COMPUTE: Span = Span::from_secs(5);
/// Time that one call may take with all that it waits for: in the world's time, and no less in real time.
pub const WALL: Span = Span::from_secs(60);
/// Time that one call without a world (`describe`, `validate`) may take.
pub const OFFLINE_WALL: Span = Span::from_secs(10);
/// Requests to the outside world within one call.
pub const HOST_CALLS: u32 = 200;
/// Bytes that a plugin may pass to the engine at once, as a result or as arguments.
pub const PASSED_BYTES: usize = 8 << 20;
/// Bytes that the engine hands to a plugin within one call: answers with their headers, and objects.
pub const RECEIVED_BYTES: usize = 16 << 20;
/// Bytes that a plugin may put into requests of `wasi:http` within one call, headers and bodies: the
/// engine keeps them until they are sent.
pub const SENT_BYTES: usize = 16 << 20;
/// Requests of `wasi:http` at the same time: those whose answer the plugin hasn't taken.
pub const EXCHANGES: usize = 8;
/// Bytes of one JSON text, in either direction: a config, an object, a memory.
pub const JSON_BYTES: usize = 1 << 20;
/// Bytes of a request's body.
pub const REQUEST_BODY_BYTES: usize = 1 << 20;
/// Bytes of a response's body; the rest is cut off.
pub const RESPONSE_BODY_BYTES: usize = 4 << 20;
/// Headers of a request, and of a response.
pub const HEADERS: usize = 100;
/// Bytes of one header's name and value together.
pub const HEADER_BYTES: usize = 8 << 10;
/// Log lines of one call; the rest is dropped.
pub const LOG_LINES: u32 = 100;
/// Bytes of one log line with its fields; the rest is cut off.
pub const LOG_LINE_BYTES: usize = 4 << 10;
/// Fields of one log line.
pub const LOG_FIELDS: usize = 20;
/// Bytes kept of what a plugin writes to standard error.
pub const STDERR_BYTES: usize = 8 << 10;
/// Handles that a plugin may hold at once: streams, pollables, requests.
pub const HANDLES: usize = 256;
/// Random bytes that a plugin may ask for at once.
pub const RANDOM_BYTES: u64 = 64 << 10;
/// Objects that one `find` returns.
pub const OBJECTS: usize = 500;
/// Bytes of a component. A Python plugin has 18 MB.
pub const COMPONENT_BYTES: usize = 64 << 20;

/// What one call of a plugin may use. The defaults are this module's constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// See [`MEMORY_BYTES`].
    pub memory_bytes: usize,
    /// See [`MEMORIES`].
    pub memories: usize,
    /// See [`TABLES`].
    pub tables: usize,
    /// See [`INSTANCES`].
    pub instances: usize,
    /// See [`TABLE_ELEMENTS`].
    pub table_elements: usize,
    /// See [`COMPUTE`].
    pub compute: Span,
    /// See [`WALL`].
    pub wall: Span,
    /// See [`HOST_CALLS`].
    pub host_calls: u32,
    /// See [`PASSED_BYTES`].
    pub passed_bytes: usize,
    /// See [`RECEIVED_BYTES`].
    pub received_bytes: usize,
    /// See [`SENT_BYTES`].
    pub sent_bytes: usize,
    /// See [`EXCHANGES`].
    pub exchanges: usize,
    /// See [`JSON_BYTES`].
    pub json_bytes: usize,
    /// See [`REQUEST_BODY_BYTES`].
    pub request_body_bytes: usize,
    /// See [`RESPONSE_BODY_BYTES`].
    pub response_body_bytes: usize,
    /// See [`LOG_LINES`].
    pub log_lines: u32,
    /// See [`LOG_LINE_BYTES`].
    pub log_line_bytes: usize,
    /// See [`STDERR_BYTES`].
    pub stderr_bytes: usize,
    /// See [`HANDLES`].
    pub handles: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_BYTES,
            memories: MEMORIES,
            tables: TABLES,
            instances: INSTANCES,
            table_elements: TABLE_ELEMENTS,
            compute: COMPUTE,
            wall: WALL,
            host_calls: HOST_CALLS,
            passed_bytes: PASSED_BYTES,
            received_bytes: RECEIVED_BYTES,
            sent_bytes: SENT_BYTES,
            exchanges: EXCHANGES,
            json_bytes: JSON_BYTES,
            request_body_bytes: REQUEST_BODY_BYTES,
            response_body_bytes: RESPONSE_BODY_BYTES,
            log_lines: LOG_LINES,
            log_line_bytes: LOG_LINE_BYTES,
            stderr_bytes: STDERR_BYTES,
            handles: HANDLES,
        }
    }
}
