//! Removes whatever lies at a path: builds leave folders that nobody may write to, and a crash may leave a file for a folder.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Removes a file or a folder with everything in it, also folders that were made read-only. Nothing there is as good as gone.
///
/// # Errors
/// When something cannot be removed; what was removed before is gone.
pub fn remove(path: &Path) -> io::Result<()> {
    match remove_writable(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            remove_writable(path)
        }
        done => done,
    }
}

fn remove_writable(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Makes a folder and those below it writable for us; links are not followed.
fn make_writable(path: &Path) {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o700));
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_links_and_folders_go_and_what_a_link_leads_to_stays() {
        let place = tempfile::tempdir().unwrap();
        let (kept, tree) = (place.path().join("kept"), place.path().join("tree"));
        fs::create_dir_all(&kept).unwrap();
        fs::create_dir_all(tree.join("a/b")).unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        fs::set_permissions(tree.join("a"), Permissions::from_mode(0o500)).unwrap();
        make_writable(&tree);
        assert_eq!(fs::metadata(tree.join("a")).unwrap().permissions().mode() & 0o777, 0o700);
        remove(&tree).unwrap();
        symlink(&kept, &tree).unwrap();
        remove(&tree).unwrap();
        remove(&tree).unwrap();
        fs::write(&tree, "").unwrap();
        remove(&tree).unwrap();
        assert!(kept.exists() && !tree.exists());
    }
}
