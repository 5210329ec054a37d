//! Whom a database runs as: PostgreSQL refuses to run as root, and nothing of it should.
//!
//! It is whoever owns the folder of its data. Invariant: a folder never changes from one ordinary user to another.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

use lockstep_confine::User;
use lockstep_domain::resource::ResourceKind;

use super::is_ours;

const PASSWD: &str = "/etc/passwd";
/// Deepest folder whose owner is set; databases have a few levels.
const MAX_DEPTH: usize = 64;

/// Returns whom a database runs as, and gives its data to that user; `None` where it is the user of this process.
///
/// # Errors
/// When the folder is not there, or belongs to nobody who could be meant.
pub(crate) fn owner_for(folder: &Path, kind: ResourceKind) -> io::Result<Option<User>> {
    let metadata = fs::symlink_metadata(folder)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is no folder"));
    }
    let is_root = rustix::process::geteuid().is_root();
    match (is_root, is_ours(&metadata)) {
        (false, true) => Ok(None),
        (false, false) => Err(io::Error::other("it belongs to another user")),
        (true, false) => Ok(Some(User { id: metadata.uid(), group: metadata.gid(), binds: false })),
        (true, true) => {
            let user = ordinary_user(&fs::read_to_string(PASSWD)?, kind);
            let user = user.ok_or_else(|| {
                io::Error::other(
                    "Lockstep runs as root, and there is no ordinary user `nobody` for the database",
                )
            })?;
            give(folder, user, MAX_DEPTH)?;
            Ok(Some(user))
        }
    }
}

/// Finds an ordinary user for a kind of database.
fn ordinary_user(passwd: &str, kind: ResourceKind) -> Option<User> {
    let wanted: &[&str] = match kind {
        ResourceKind::Redis => &["redis", "valkey", "nobody"],
        ResourceKind::Postgresql | ResourceKind::Mysql | ResourceKind::Other => &["postgres", "nobody"],
    };
    let find = |name: &&str| passwd.lines().find_map(|line| user_of(line, name));
    wanted.iter().find_map(find)
}

fn user_of(line: &str, name: &str) -> Option<User> {
    let mut parts = line.split(':');
    let is_it = parts.next() == Some(name);
    let (id, group) = (parts.nth(1)?.parse().ok()?, parts.next()?.parse().ok()?);
    (is_it && id != 0).then_some(User { id, group, binds: false })
}

/// Gives a folder with everything in it, the folder itself last: one that was given half is given again.
fn give(path: &Path, user: User, depth: usize) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        let deeper = depth.checked_sub(1).ok_or_else(|| io::Error::other("it is too deep"))?;
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user, deeper)?;
        }
    }
    lchown(path, Some(user.id), Some(user.group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_the_database_is_taken_where_there_is_one_and_root_never() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104::/:/bin/sh\nnobody:x:65534:65533::/:/x\n";
        let found = |passwd, kind| ordinary_user(passwd, kind).map(|user| (user.id, user.group));
        assert_eq!(found(passwd, ResourceKind::Postgresql), Some((101, 104)));
        assert_eq!(found(passwd, ResourceKind::Redis), Some((65534, 65533)));
        assert_eq!(found("postgres:x:0:0::/:/bin/sh", ResourceKind::Postgresql), None);
        assert_eq!(found("postgres:x\n:::\n", ResourceKind::Postgresql), None);
    }
}
