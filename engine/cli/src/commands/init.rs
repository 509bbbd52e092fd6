//! `phasegate init`: files to begin with.

#![expect(
    clippy::disallowed_methods,
    reason = "the command makes a folder and files"
)]

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, codes};

use crate::args::Init;
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::files;

const RELEASE: &str = include_str!("init/release.yaml");
const SCENARIO: &str = include_str!("init/scenario.yaml");
/// What stands for the release's name in the templates.
const NAME: &str = "NAME";
/// Longest name; Kubernetes takes no longer one for a Service.
const MAX_NAME: usize = 63;

/// Writes the files; leaves both alone where one is there already.
pub(super) fn init(args: &Init, console: &Console) -> Outcome {
    check(&args.name)?;
    std::fs::create_dir_all(&args.folder).map_err(|e| files::unwritable(&args.folder, &e))?;
    let files = [("release.yaml", RELEASE), ("scenario.yaml", SCENARIO)];
    for (name, _) in files {
        refuse_existing(&args.folder.join(name))?;
    }
    let mut written = Vec::new();
    for (name, text) in files {
        let path = args.folder.join(name);
        if let Err(fault) = files::create(&path, &text.replace(NAME, &args.name)) {
            // Both or none: the next attempt would stumble over the one.
            for path in written {
                let _ = std::fs::remove_file(path);
            }
            return Err(fault.into());
        }
        written.push(path);
    }
    let release = args.folder.join("release.yaml");
    let release = release.display();
    let written = serde_json::json!({
        "release": release.to_string(),
        "scenario": args.folder.join("scenario.yaml").display().to_string(),
    });
    console.either(&written, || {
        format!("wrote {release} and its scenario.yaml; try\n  phasegate plan {release}\n  phasegate run {release}")
    })?;
    Ok(Exit::Succeeded)
}

fn refuse_existing(path: &Path) -> Result<(), Diagnostic> {
    // A link that leads nowhere is there too.
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let path = path.display();
    Err(
        Diagnostic::new(codes::CONTRADICTION, format!("`{path}` is there already"))
            .expected("no file of that name")
            .found("one that would be overwritten")
            .hint("give another folder: `phasegate init FOLDER`; nothing was written"),
    )
}

fn check(name: &str) -> Result<(), Diagnostic> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(inner)
        && name.chars().all(|c| inner(c) || c == '-');
    if good {
        return Ok(());
    }
    Err(
        Diagnostic::new(codes::BAD_NAME, "the name can't be a release's")
            .expected("lower-case letters, digits and hyphens, beginning with a letter")
            .found(format!("`{name}`")),
    )
}

#[cfg(test)]
mod tests {
    use phasegate_core::spec::release::{Overrides, load};

    use super::*;
    use crate::builtin;

    #[test]
    fn what_is_written_is_valid() {
        let release = RELEASE.replace(NAME, "shop");
        let loaded = load(
            "release.yaml",
            release.as_bytes(),
            &Overrides::default(),
            &builtin::NAMES,
        )
        .unwrap();
        assert_eq!(loaded.release.metadata.name, "shop");
        let scenario = SCENARIO.replace(NAME, "shop");
        super::super::simulate::check("scenario.yaml", scenario.as_bytes()).unwrap();
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "shop", "shop-2"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Shop", "a b", "2shop", &"a".repeat(64)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
