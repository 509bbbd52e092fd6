//! From what a release says of a plugin to its bytes.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use phasegate_core::diagnostic::{Diagnostic, Place, codes, listed, nearest};
use phasegate_core::spec::release::PluginSource;
use phasegate_runtime::ports::Component;
use sha2::{Digest, Sha256};

use crate::files::{self, Content};
use crate::kind::Kind;

/// Most bytes of a plugin. The largest kind known, Python's, has 18 MB.
pub const MAX_PLUGIN_BYTES: usize = 64 << 20;

/// A plugin that ships with the engine.
#[derive(Clone, Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: String,
    /// The component.
    pub bytes: Arc<[u8]>,
}

/// Finds plugins.
#[derive(Clone, Debug)]
pub struct Registry {
    builtins: BTreeMap<String, Arc<[u8]>>,
    base: PathBuf,
}

/// `sha256:` and the digest of the bytes in hex.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl Registry {
    /// Finds these built-in plugins, and files relative to `base`, the release file's folder.
    #[must_use]
    pub fn new(builtins: impl IntoIterator<Item = BuiltIn>, base: impl Into<PathBuf>) -> Self {
        Self {
            builtins: builtins
                .into_iter()
                .map(|builtin| (builtin.name, builtin.bytes))
                .collect(),
            base: base.into(),
        }
    }

    /// The names of the built-in plugins, in order.
    pub fn builtins(&self) -> impl Iterator<Item = &str> {
        self.builtins.keys().map(String::as_str)
    }

    /// The bytes of the plugin that the release calls `name`.
    ///
    /// # Errors
    /// `PG0309` where there is nothing of that name or at that path, `PG0310` where it has another
    /// digest than the release gives, `PG0301` where it isn't a component or is too large.
    pub fn resolve(&self, name: &str, source: &PluginSource) -> Result<Component, Diagnostic> {
        match source {
            PluginSource::Builtin { name: builtin } => self.builtin(name, builtin),
            PluginSource::Path { path, digest } => self.file(name, path, digest.as_deref()),
        }
    }

    fn builtin(&self, name: &str, builtin: &str) -> Result<Component, Diagnostic> {
        let Some(bytes) = self.builtins.get(builtin) else {
            let fault = Diagnostic::new(
                codes::PLUGIN_NOT_FOUND,
                format!("no plugin `{builtin}` ships with the engine"),
            )
            .expected(listed(self.builtins()))
            .found(format!("`{builtin}`"));
            return Err(match nearest(builtin, self.builtins()) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint("`phasegate plugin list` shows what is built in"),
            });
        };
        let source = format!("builtin:{builtin}");
        checked(name, &source, &source, Arc::clone(bytes))
    }

    fn file(
        &self,
        name: &str,
        path: &str,
        expected: Option<&str>,
    ) -> Result<Component, Diagnostic> {
        let full = self.base.join(path);
        let shown = full.display().to_string();
        let place = || Place::file(&shown);
        let bytes = match files::read(&full, MAX_PLUGIN_BYTES) {
            Ok(Content::Whole(bytes, _)) => bytes,
            Ok(Content::TooLarge) => {
                return Err(Diagnostic::new(
                    codes::NOT_A_COMPONENT,
                    format!("plugin `{name}` is too large"),
                )
                .at(place())
                .expected(format!("at most {} MiB", MAX_PLUGIN_BYTES >> 20)));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Diagnostic::new(
                    codes::PLUGIN_NOT_FOUND,
                    format!("there is no file for plugin `{name}`"),
                )
                .at(place())
                .expected("a component at this path, which is relative to the release file")
                .found("no file")
                .hint(format!(
                    "build the plugin, correct the path, or use a built-in one: {}",
                    listed(self.builtins())
                )));
            }
            Err(error) => {
                return Err(Diagnostic::new(
                    codes::PLUGIN_NOT_FOUND,
                    format!("the file of plugin `{name}` can't be read"),
                )
                .at(place())
                .caused_by(&error));
            }
        };
        let component = checked(name, &format!("path:{path}"), &shown, bytes.into())?;
        match expected {
            Some(expected) if expected != component.digest => Err(Diagnostic::new(
                codes::PLUGIN_DIGEST_DIFFERS,
                format!("plugin `{name}` is not the one that the release pins"),
            )
            .at(place())
            .expected(expected)
            .found(&component.digest)
            .hint("if the change is meant, put the digest that was found into the release")),
            _ => Ok(component),
        }
    }
}

/// Refuses what isn't a component. Machine code is refused before anything looks at it closer: a
/// compiled plugin from elsewhere could do anything.
fn checked(
    name: &str,
    source: &str,
    shown: &str,
    bytes: Arc<[u8]>,
) -> Result<Component, Diagnostic> {
    let kind = Kind::of(&bytes);
    if kind != Kind::Component {
        let hint = match kind {
            Kind::Module | Kind::WasmText => {
                "build it as a component: `cargo build` with the linker `wasm-component-ld`, or your language's tool"
            }
            Kind::Native => "give the `.wasm` file; the engine compiles it itself",
            Kind::OtherComponent(_) | Kind::OtherWasm => {
                "build it anew, with tools that write the component model's present format"
            }
            Kind::CutWasm | Kind::Empty => {
                "the file isn't whole: build or copy it once more, and compare its digest with the original's"
            }
            Kind::Packed => "unpack it, and give the `.wasm` file that is in it",
            Kind::Text | Kind::Unknown(_) => {
                "give the `.wasm` file that the plugin's build wrote; check the path"
            }
            Kind::Component => "please report this: it is a component",
        };
        return Err(Diagnostic::new(
            codes::NOT_A_COMPONENT,
            format!("plugin `{name}` is not a component"),
        )
        .at(Place::file(shown))
        .expected(Kind::Component.to_string())
        .found(kind.to_string())
        .hint(hint));
    }
    Ok(Component {
        name: name.to_owned(),
        source: source.to_owned(),
        digest: digest(&bytes),
        bytes,
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files as they are")]
mod tests {
    use std::fs::{self, File};

    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn registry(base: &std::path::Path) -> Registry {
        let builtins = ["rolling", "recreate"].map(|name| BuiltIn {
            name: name.to_owned(),
            bytes: COMPONENT.into(),
        });
        Registry::new(builtins, base)
    }

    fn path(path: &str, digest: Option<&str>) -> PluginSource {
        PluginSource::Path {
            path: path.to_owned(),
            digest: digest.map(str::to_owned),
        }
    }

    #[test]
    fn a_built_in_plugin_is_found_by_its_name() {
        let registry = registry("".as_ref());
        let source = PluginSource::Builtin {
            name: "rolling".to_owned(),
        };
        let component = registry.resolve("mine", &source).unwrap();
        assert_eq!(
            (component.name.as_str(), component.source.as_str()),
            ("mine", "builtin:rolling")
        );
        assert_eq!(component.digest, digest(COMPONENT));
        let source = PluginSource::Builtin {
            name: "roling".to_owned(),
        };
        let fault = registry.resolve("mine", &source).unwrap_err();
        assert_eq!(fault.code(), codes::PLUGIN_NOT_FOUND);
        assert_eq!(fault.expected_text(), Some("one of `recreate`, `rolling`"));
        assert_eq!(fault.hint_text(), Some("did you mean `rolling`?"));
    }

    #[test]
    fn a_file_is_found_beside_the_release_and_must_have_the_pinned_digest() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.wasm"), COMPONENT).unwrap();
        let registry = registry(folder.path());
        let component = registry
            .resolve("mine", &path("./mine.wasm", None))
            .unwrap();
        assert_eq!(component.source, "path:./mine.wasm");
        assert_eq!(&*component.bytes, COMPONENT);
        let pinned = path("./mine.wasm", Some(&component.digest));
        assert_eq!(registry.resolve("mine", &pinned).unwrap(), component);
        let other = digest(b"other");
        let fault = registry
            .resolve("mine", &path("./mine.wasm", Some(&other)))
            .unwrap_err();
        assert_eq!(fault.code(), codes::PLUGIN_DIGEST_DIFFERS);
        assert_eq!(fault.expected_text(), Some(other.as_str()));
        assert_eq!(fault.found_text(), Some(component.digest.as_str()));
    }

    #[test]
    fn what_is_not_a_component_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(folder.path());
        let file = folder.path().join("x");
        for (bytes, found) in [
            (&b"\0asm\x01\0\0\0"[..], "a core WebAssembly module"),
            (
                b"\x7fELF\x02\x01\x01\0",
                "machine code: a program, or a plugin that was compiled already",
            ),
            (b"hello", "text"),
            (b"", "an empty file"),
        ] {
            fs::write(&file, bytes).unwrap();
            let fault = registry.resolve("mine", &path("x", None)).unwrap_err();
            assert_eq!(
                (fault.code(), fault.found_text()),
                (codes::NOT_A_COMPONENT, Some(found))
            );
        }
        File::create(&file)
            .unwrap()
            .set_len(MAX_PLUGIN_BYTES as u64 + 1)
            .unwrap();
        let fault = registry.resolve("mine", &path("x", None)).unwrap_err();
        assert!(fault.message().contains("too large"), "{fault}");
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(folder.path());
        let fault = registry
            .resolve("mine", &path("none.wasm", None))
            .unwrap_err();
        assert_eq!(fault.code(), codes::PLUGIN_NOT_FOUND);
        assert!(
            fault.to_string().contains("`recreate`, `rolling`"),
            "{fault}"
        );
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        for name in ["pipe", "."] {
            let fault = registry.resolve("mine", &path(name, None)).unwrap_err();
            assert_eq!(fault.code(), codes::PLUGIN_NOT_FOUND, "{fault}");
            assert!(fault.to_string().contains("not a regular file"), "{fault}");
        }
    }
}
