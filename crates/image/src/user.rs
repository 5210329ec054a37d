//! Whom an image runs as: numbers, or names of its own `/etc/passwd` and `/etc/group`.

use std::io;
use std::path::Path;

use lockstep_archive::layers::{Root, read_text};
use thiserror::Error;

/// Largest `/etc/passwd` that is read.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Whom it runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) group: u32,
    pub(crate) home: Option<String>,
}

/// Why a user is not known.
#[derive(Debug, Error)]
pub enum ImageUserError {
    /// There is none of the name.
    #[error("it runs as `{user}`, and its {file} has no `{name}`")]
    Unknown {
        /// As the image says it.
        user: String,
        /// Where it was looked up.
        file: &'static str,
        /// What was looked up.
        name: String,
    },
    /// The list cannot be read.
    #[error("its /etc/passwd or /etc/group cannot be read")]
    Read(#[from] io::Error),
}

/// Finds a user as `USER` of an image names it: `name`, `id`, `name:group`, `id:group`. Nothing is root.
pub(crate) fn resolve(user: &str, root: &Root) -> Result<User, ImageUserError> {
    let list = |path: &str| read_text(root, Path::new(path), MAX_BYTES).map(Option::unwrap_or_default);
    Lists { passwd: list("etc/passwd")?, group: list("etc/group")? }.find(user)
}

struct Lists {
    passwd: String,
    group: String,
}

impl Lists {
    fn find(&self, user: &str) -> Result<User, ImageUserError> {
        let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
        let name = if name.is_empty() { "0" } else { name };
        let unknown =
            |file, name: &str| ImageUserError::Unknown { user: user.to_owned(), file, name: name.to_owned() };
        let entry = self.passwd.lines().find_map(|line| entry(line, name));
        let id = name.parse().ok().or_else(|| entry.as_ref().map(|entry| entry.id));
        let group = match group.filter(|group| !group.is_empty()) {
            None => entry.as_ref().map_or(0, |entry| entry.group),
            Some(group) => self.group(group).ok_or_else(|| unknown("/etc/group", group))?,
        };
        let id = id.ok_or_else(|| unknown("/etc/passwd", name))?;
        Ok(User { id, group, home: entry.and_then(|entry| entry.home) })
    }

    fn group(&self, wanted: &str) -> Option<u32> {
        let of_line = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let id = fields.nth(1)?.parse().ok()?;
            (name == wanted).then_some(id)
        };
        wanted.parse().ok().or_else(|| self.group.lines().find_map(of_line))
    }
}

/// A line of `/etc/passwd`, when it is of a user of this name or number.
fn entry(line: &str, wanted: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, id, group, ..] = fields.as_slice() else { return None };
    if *name != wanted && *id != wanted {
        return None;
    }
    let home = fields.get(5).filter(|home| home.starts_with('/')).map(|home| (*home).to_owned());
    Some(User { id: id.parse().ok()?, group: group.parse().ok()?, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number_and_root_is_who_is_not_named() {
        let lists = Lists {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:7:8::/home/app:/bin/sh\n".to_owned(),
            group: "root:x:0:\nweb:x:33:\n".to_owned(),
        };
        let found = |user: &str| {
            let User { id, group, home } = lists.find(user).unwrap();
            (id, group, home.unwrap_or_default())
        };
        assert_eq!(found(""), (0, 0, "/root".to_owned()));
        assert_eq!(found("app"), (7, 8, "/home/app".to_owned()));
        assert_eq!(found("7"), (7, 8, "/home/app".to_owned()));
        assert_eq!(found("app:web"), (7, 33, "/home/app".to_owned()));
        assert_eq!(found("1000"), (1000, 0, String::new()));
        assert_eq!(found("1000:99"), (1000, 99, String::new()));
        let said = |user: &str| lists.find(user).unwrap_err().to_string();
        assert_eq!(said("nobody"), "it runs as `nobody`, and its /etc/passwd has no `nobody`");
        assert_eq!(said("app:none"), "it runs as `app:none`, and its /etc/group has no `none`");
        let none = Lists { passwd: String::new(), group: String::new() };
        assert_eq!(none.find("").unwrap(), User::default());
    }
}
