//! What some bytes are, as far as their beginning tells.

use std::fmt;

/// What a file that was given as a plugin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebAssembly component: what a plugin is.
    Component,
    /// A component of a version of the binary format that is not the one in use.
    OtherComponent(u16),
    /// A core WebAssembly module.
    Module,
    /// WebAssembly of a layer or version that nobody knows.
    OtherWasm,
    /// WebAssembly that ends before it begins.
    CutWasm,
    /// Machine code: a program, a library, or a component compiled by wasmtime.
    Native,
    /// WebAssembly in its text form.
    WasmText,
    /// A compressed file or an archive.
    Packed,
    /// Text.
    Text,
    /// Nothing.
    Empty,
    /// Something else, with its first bytes in hex.
    Unknown(String),
}

/// The version of the binary format of components.
const COMPONENT_VERSION: u16 = 0x0d;
/// How much is looked at to tell text from other bytes.
const LOOKED_AT: usize = 512;

impl Kind {
    /// Looks at the beginning of the bytes. A component may still be damaged further on.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        if let Some(rest) = bytes.strip_prefix(b"\0asm") {
            return Self::wasm(rest);
        }
        let starts = |magics: &[&[u8]]| magics.iter().any(|magic| bytes.starts_with(magic));
        // What wasmtime compiles is an ELF object on every platform.
        if starts(&[b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"]) {
            return Self::Native;
        }
        if starts(&[
            b"\x1f\x8b",
            b"PK\x03\x04",
            b"\x28\xb5\x2f\xfd",
            b"\xfd7zXZ",
            b"BZh",
            b"!<arch>",
        ]) {
            return Self::Packed;
        }
        let beginning = bytes.get(..LOOKED_AT).unwrap_or(bytes);
        // A character cut in two at the end doesn't make it something else than text.
        let text = match std::str::from_utf8(beginning) {
            Ok(text) => Some(text),
            Err(error) if error.error_len().is_none() => beginning
                .get(..error.valid_up_to())
                .and_then(|valid| std::str::from_utf8(valid).ok()),
            Err(_) => None,
        };
        match text.filter(|text| !text.contains('\0')) {
            Some(text)
                if text.trim_start().starts_with("(component")
                    || text.trim_start().starts_with("(module") =>
            {
                Self::WasmText
            }
            Some(_) => Self::Text,
            None => {
                let first = bytes.iter().take(8).map(|byte| format!("{byte:02x}"));
                Self::Unknown(first.collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn wasm(rest: &[u8]) -> Self {
        let Some([a, b, c, d]) = rest.first_chunk::<4>() else {
            return Self::CutWasm;
        };
        let (version, layer) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        match (version, layer) {
            (COMPONENT_VERSION, 1) => Self::Component,
            (other, 1) => Self::OtherComponent(other),
            (1, 0) => Self::Module,
            _ => Self::OtherWasm,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component => f.write_str("a WebAssembly component"),
            Self::OtherComponent(version) => {
                write!(
                    f,
                    "a WebAssembly component of version {version:#x}, where {COMPONENT_VERSION:#x} is understood"
                )
            }
            Self::Module => f.write_str("a core WebAssembly module"),
            Self::OtherWasm => f.write_str("WebAssembly of an unknown version"),
            Self::CutWasm => f.write_str("a cut-off WebAssembly file"),
            Self::Native => {
                f.write_str("machine code: a program, or a plugin that was compiled already")
            }
            Self::WasmText => f.write_str("WebAssembly in its text form"),
            Self::Packed => f.write_str("a compressed file or an archive"),
            Self::Text => f.write_str("text"),
            Self::Empty => f.write_str("an empty file"),
            Self::Unknown(first) => write!(f, "a file that begins with the bytes {first}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn files_that_people_take_for_plugins_are_told_apart() {
        let cut = [&b"x".repeat(511)[..], "ä".as_bytes()].concat();
        let cases: [(&[u8], Kind); 14] = [
            (b"\0asm\x0d\0\x01\0rest", Kind::Component),
            (b"\0asm\x0a\0\x01\0", Kind::OtherComponent(10)),
            (b"\0asm\x01\0\0\0rest", Kind::Module),
            (b"\0asm\x02\0\0\0", Kind::OtherWasm),
            (b"\0asm\x0d\0", Kind::CutWasm),
            (b"\x7fELF\x02\x01\x01", Kind::Native),
            (b"MZ\x90", Kind::Native),
            (b"\x1f\x8b\x08", Kind::Packed),
            (b"  (component\n", Kind::WasmText),
            (b"<!DOCTYPE html>", Kind::Text),
            (&cut, Kind::Text),
            (b"", Kind::Empty),
            (b"\0as", Kind::Unknown("00 61 73".to_owned())),
            (b"\xff\xfe\x00", Kind::Unknown("ff fe 00".to_owned())),
        ];
        for (bytes, kind) in cases {
            assert_eq!(Kind::of(bytes), kind, "{bytes:?}");
        }
    }
}
