//! The content of ConfigMaps that a release brings along, in files beside it.

#![expect(
    clippy::disallowed_methods,
    reason = "the room in which the command line reads what is beside a release"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use phasegate_core::config::{MAX_CONTENT, MAX_KEYS, is_key};
use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::spec::release::Loaded;

use crate::files;

/// Reads what the release names.
///
/// # Errors
/// A coded fault for each `from` that can't be read, or is no content of a ConfigMap.
pub fn fill(loaded: &mut Loaded, folder: &Path) -> Result<(), Diagnostics> {
    let mut faults = Diagnostics::new();
    let mut contents = BTreeMap::new();
    for (pointer, workload) in loaded.release.workloads() {
        for (index, config) in workload.configs.iter().enumerate() {
            let Some(from) = &config.from else { continue };
            match read(&folder.join(from)) {
                Ok(data) => {
                    contents.insert(from.clone(), data);
                }
                Err(fault) => {
                    let pointer = format!("{pointer}/configs/{index}/from");
                    faults.push(fault.at(loaded.document.place(&pointer)));
                }
            }
        }
    }
    loaded.contents = contents;
    faults.into_result(())
}

/// A folder with a file for each key, or one file.
fn read(path: &Path) -> Result<BTreeMap<String, String>, Diagnostic> {
    let shown = path.display().to_string();
    let mut data = BTreeMap::new();
    let mut room = MAX_CONTENT;
    if !path.is_dir() {
        add(&mut data, path, &mut room)?;
        return Ok(data);
    }
    let unreadable = |error: &std::io::Error| {
        Diagnostic::new(
            codes::FILE_UNREADABLE,
            format!("the folder `{shown}` can't be read"),
        )
        .expected("a folder that can be read")
        .found(error.to_string())
    };
    for entry in fs::read_dir(path).map_err(|e| unreadable(&e))? {
        let entry = entry.map_err(|e| unreadable(&e))?;
        // What editors and mounts leave beside the files is no key.
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        add(&mut data, &entry.path(), &mut room)?;
    }
    if data.is_empty() {
        return Err(Diagnostic::new(
            codes::INVALID_VALUE,
            format!("the folder `{shown}` holds no content for a ConfigMap"),
        )
        .expected("a file for each key")
        .found("none"));
    }
    Ok(data)
}

fn add(
    data: &mut BTreeMap<String, String>,
    file: &Path,
    room: &mut usize,
) -> Result<(), Diagnostic> {
    let shown = file.display().to_string();
    let key = file.file_name().map(|name| name.to_string_lossy());
    let key = key.unwrap_or_default().into_owned();
    if !is_key(&key) {
        return Err(Diagnostic::new(
            codes::INVALID_VALUE,
            format!("the file `{shown}` has a name that can't be a ConfigMap's key"),
        )
        .expected("letters, digits, `-`, `_` and `.`")
        .found(format!("`{key}`")));
    }
    if data.len() >= MAX_KEYS {
        return Err(Diagnostic::new(
            codes::TOO_MANY,
            format!("there are too many files beside `{shown}` for one ConfigMap"),
        )
        .expected(format!("at most {MAX_KEYS}"))
        .found("more"));
    }
    let bytes = files::read_up_to(&shown, *room)?;
    *room = room.saturating_sub(bytes.len());
    let text = String::from_utf8(bytes).map_err(|error| {
        Diagnostic::new(
            codes::INVALID_VALUE,
            format!("the file `{shown}` is not text, and a release brings along text alone"),
        )
        .expected("UTF-8")
        .found(error.utf8_error().to_string())
    })?;
    data.insert(key, text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_by_key_and_what_is_hidden_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("level"), "debug").unwrap();
        fs::write(folder.path().join(".level.swp"), "x").unwrap();
        let data = read(folder.path()).unwrap();
        assert_eq!(data, [("level".to_owned(), "debug".to_owned())].into());
        let one = read(&folder.path().join("level")).unwrap();
        assert_eq!(one, data);
    }

    #[test]
    fn what_no_config_map_can_hold_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let code = |path: &Path| read(path).unwrap_err().code();
        assert_eq!(code(folder.path()), codes::INVALID_VALUE);
        assert_eq!(code(&folder.path().join("gone")), codes::FILE_UNREADABLE);
        let file = folder.path().join("level");
        fs::write(&file, [0xff]).unwrap();
        assert_eq!(code(folder.path()), codes::INVALID_VALUE);
        fs::write(&file, "x".repeat(MAX_CONTENT)).unwrap();
        assert!(read(folder.path()).is_ok());
        fs::write(folder.path().join("more"), "x").unwrap();
        assert_eq!(code(folder.path()), codes::FILE_TOO_BIG);
        fs::remove_file(&file).unwrap();
        fs::write(folder.path().join("a key"), "x").unwrap();
        assert_eq!(code(folder.path()), codes::INVALID_VALUE);
    }
}
