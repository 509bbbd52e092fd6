//! Who may use what is in a state directory: its owner alone, unless the directory itself says otherwise.
//!
//! A directory that its group, or everybody, may write to is shared on purpose: what is put into it gets
//! the same rights, whatever the umask says. With the set-group-ID bit (`chmod 2770`) the group is the
//! directory's as well for the files that SQLite makes beside the database.

#![expect(
    clippy::disallowed_methods,
    reason = "the files of a state directory are shared as it is"
)]

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Gid;
use rustix::process::geteuid;

/// What the group, and what everybody, needs to use a file.
const GROUP_USES: u32 = 0o060;
const ALL_USE: u32 = 0o006;
/// That a folder hands its group on.
const SET_GROUP: u32 = 0o2000;

/// The rights of what is put into a folder, beyond its owner's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    file: u32,
    set_group: u32,
    group: Option<u32>,
}

impl Rights {
    /// As the folder has them. Of a folder that can't be looked at nothing is shared.
    #[must_use]
    pub fn within(folder: &Path) -> Self {
        let Ok(about) = fs::metadata(folder) else {
            return Self::default();
        };
        let mode = about.mode();
        let uses = |write: u32, bits: u32| if mode & write == 0 { 0 } else { bits };
        let file = uses(0o020, GROUP_USES) | uses(0o002, ALL_USE);
        if file == 0 {
            return Self::default();
        }
        Self {
            file,
            set_group: mode & SET_GROUP,
            group: Some(about.gid()),
        }
    }

    /// Gives an open file these rights, if it is this user's; whoever else's it is has done so.
    ///
    /// # Errors
    /// Where they can't be set.
    pub fn give(self, file: &File) -> io::Result<()> {
        let Some(group) = self.group else {
            return Ok(());
        };
        let about = file.metadata()?;
        if about.uid() != geteuid().as_raw() {
            return Ok(());
        }
        if about.gid() != group && self.file & GROUP_USES != 0 {
            // Who isn't in the group can't give the file to it; then only `others` count.
            let _ = rustix::fs::fchown(file, None, Some(Gid::from_raw(group)));
        }
        let (mode, wanted) = (about.mode() & 0o7777, self.mode(&about));
        if mode | wanted == mode {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(mode | wanted))
    }

    /// The same for a file or folder by its path.
    ///
    /// # Errors
    /// Where they can't be set.
    pub fn give_to(self, path: &Path) -> io::Result<()> {
        if self.group.is_none() {
            return Ok(());
        }
        self.give(&File::open(path)?)
    }

    fn mode(self, about: &Metadata) -> u32 {
        if about.is_dir() {
            // To use a folder is to search it, too.
            self.file | (self.file & 0o044) >> 2 | self.set_group
        } else {
            self.file
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests set their files up")]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_in_a_shared_folder_is_shared_as_it_is_and_nothing_else_is() {
        for (folder_mode, file_mode, sub_mode) in [
            (0o700, 0o600, 0o700),
            (0o755, 0o600, 0o700),
            (0o770, 0o660, 0o770),
            (0o2775, 0o660, 0o2770),
            (0o2777, 0o666, 0o2777),
        ] {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("state");
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(folder_mode)).unwrap();
            let (file, sub) = (folder.join("file"), folder.join("sub"));
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            fs::create_dir(&sub).unwrap();
            fs::set_permissions(&sub, Permissions::from_mode(0o700)).unwrap();
            let rights = Rights::within(&folder);
            rights.give_to(&file).unwrap();
            rights.give_to(&sub).unwrap();
            assert_eq!(
                (mode(&file), mode(&sub)),
                (file_mode, sub_mode),
                "in a folder of {folder_mode:o}"
            );
        }
    }
}
