//! Small plugins written for a test: the bodies of a few functions in WebAssembly's text format,
//! made into a component by the contracts.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, UnresolvedPackageGroup};

/// Where a guest's functions write their results.
pub(crate) const RESULT: u32 = 1024;
/// Where a guest's own data begins.
const DATA: u32 = 4096;

/// A strategy in pieces.
pub(crate) struct Guest<'a> {
    /// The name of the one offer.
    pub(crate) name: &'static str,
    /// Its kind.
    pub(crate) kind: &'static str,
    /// Its config schema.
    pub(crate) schema: String,
    /// `describe`, unless it describes itself as the fields above say.
    pub(crate) describe: Option<&'static str>,
    /// The body of `plan`: leaves the address of its result.
    pub(crate) plan: &'static str,
    /// Further fields of the module: imports first.
    pub(crate) fields: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self {
            name: "guest",
            kind: "strategy",
            schema: "{}".into(),
            describe: None,
            plan: NO_STEPS,
            fields: "",
        }
    }
}

/// `ok([])`: the memory is zero, and so is the result.
pub(crate) const NO_STEPS: &str = "i32.const 1024";
/// The import of the log's function.
pub(crate) const LOG: &str =
    r#"(import "phasegate:host/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))"#;

const WORLD: &str = "
    package test:guest;
    world guest {
        import phasegate:host/log@0.1.0;
        export phasegate:meta/meta@0.1.0;
        export phasegate:strategy/strategy@0.1.0;
    }
";

impl Guest<'_> {
    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut data = Data::default();
        let describe = self
            .describe
            .map_or_else(|| data.description(self), Into::into);
        let wat = format!(
            r#"(module
                {fields}
                (memory (export "memory") 2)
                {data}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 65536)
                (func (export "phasegate:meta/meta@0.1.0#describe") (result i32) {describe})
                (func (export "phasegate:meta/meta@0.1.0#validate")
                    (param i32 i32 i32 i32 i32 i32) (result i32) i32.const {RESULT})
                (func (export "phasegate:strategy/strategy@0.1.0#plan") (param i32) (result i32) {plan})
                (func (export "phasegate:strategy/strategy@0.1.0#revise") (param i32) (result i32)
                    i32.const {RESULT})
            )"#,
            fields = self.fields,
            data = data.segments,
            plan = self.plan,
        );
        encode(&wat, WORLD)
    }
}

/// A core module made into a component of the first world in the text.
pub(crate) fn encode(wat: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(wit).unwrap();
    let group = UnresolvedPackageGroup::parse("guest.wit", world).unwrap();
    let package = resolve.push_group(group).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

#[derive(Default)]
struct Data {
    segments: String,
    used: u32,
}

impl Data {
    /// Puts bytes into memory; returns their address.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        let address = DATA + self.used;
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        self.segments
            .push_str(&format!("(data (i32.const {address}) \"{escaped}\")\n"));
        self.used += u32::try_from(bytes.len()).unwrap().next_multiple_of(8);
        address
    }

    fn text(&mut self, text: &str) -> [u32; 2] {
        [
            self.put(text.as_bytes()),
            u32::try_from(text.len()).unwrap(),
        ]
    }

    /// The body of a `describe` with one offer.
    fn description(&mut self, guest: &Guest<'_>) -> String {
        let texts = [guest.kind, guest.name, "an offer", &guest.schema];
        let offer: Vec<u32> = texts.iter().flat_map(|text| self.text(text)).collect();
        let offer = self.words(&offer);
        let mut record: Vec<u32> = Vec::new();
        for text in [guest.name, "1.0.0", "a plugin of a test"] {
            record.extend(self.text(text));
        }
        record.extend([offer, 1, 0, 0]);
        record.extend(self.text("{}"));
        format!("i32.const {}", self.words(&record))
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }
}
