//! The ways that users of services go through the data folder to what is theirs: they may pass, and see nothing on the way.
//!
//! Invariant: before a folder can be passed, everything in it that is not a way is closed to all but its owner, whatever an
//! older release has left.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Others may pass.
const PASS: u32 = 0o001;
/// Others may do anything.
const OTHERS: u32 = 0o077;
/// A folder that others may pass, and nothing else.
const WAY: u32 = 0o711;
/// What is a way in the folder of the driver.
const IN_DRIVER: [&str; 3] = ["instances", "releases", "data"];

/// Opens the ways in the folder of a driver, which lies in the data folder.
///
/// # Errors
/// Says why others cannot come as far as that, or what cannot be opened.
pub(crate) fn open(driver: &Path, data: &Path) -> Result<(), String> {
    let closed = data.ancestors().skip(1).find(|above| !is_passable(above));
    if let Some(above) = closed {
        return Err(format!("other users cannot pass `{}` on the way to the data folder", above.display()));
    }
    let opened = open_folder(driver, &IN_DRIVER).and_then(|()| match driver.strip_prefix(data) {
        Ok(below) => match below.iter().next().and_then(|name| name.to_str()) {
            Some(name) => open_folder(data, &[name]),
            None => Ok(()),
        },
        Err(_) => Ok(()),
    });
    let ways = || IN_DRIVER.iter().try_for_each(|name| set(&driver.join(name), WAY));
    opened
        .and_then(|()| ways())
        .map_err(|error| format!("the ways through the data folder cannot be opened: {error}"))
}

fn is_passable(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| found.mode() & PASS != 0)
}

/// Closes what is in a folder but for some names, then lets others pass the folder.
fn open_folder(folder: &Path, ways: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_way = ways.iter().any(|way| entry.file_name() == **way);
        let found = entry.metadata()?;
        if !is_way && !found.is_symlink() && found.mode() & OTHERS != 0 {
            set(&entry.path(), found.mode() & 0o7777 & !OTHERS)?;
        }
    }
    set(folder, WAY)
}

fn set(path: &Path, mode: u32) -> io::Result<()> {
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn others_pass_to_the_instances_and_everything_else_is_closed_first() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o711)).unwrap();
        let data = place.path().join("data");
        let driver = data.join("runtime");
        for folder in ["runtime/instances", "runtime/releases", "runtime/resources/x", "secrets", "blobs"] {
            fs::create_dir_all(data.join(folder)).unwrap();
            fs::set_permissions(data.join(folder), Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(data.join("journal.db"), "").unwrap();
        fs::write(driver.join("driver.lock"), "").unwrap();
        open(&driver, &data).unwrap();
        for way in ["", "runtime", "runtime/instances", "runtime/releases"] {
            assert_eq!(mode(&data.join(way)), WAY, "{way}");
        }
        for closed in ["secrets", "blobs", "journal.db", "runtime/resources", "runtime/driver.lock"] {
            assert_eq!(mode(&data.join(closed)) & OTHERS, 0, "{closed}");
        }
        fs::set_permissions(place.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(open(&driver, &data).unwrap_err().contains("cannot pass"));
    }
}
