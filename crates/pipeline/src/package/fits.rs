//! Whether a package will be unpacked where it is to run: what would be refused there is refused when it is made.

use std::collections::BTreeSet;
use std::path::Path;

use lockstep_archive::UnpackLimits;

use super::contents::EntryKind;
use super::{PackageManifest, PackageProblem};

/// What an entry takes in a tar beside its content: headers, and what fills the last block. Only a long path takes more.
const BYTES_AROUND: u64 = 2_048;

/// Looks at the files of a package of so many bytes.
pub(super) fn problem(contents: &PackageManifest, bytes: u64) -> Option<PackageProblem> {
    judged(contents, bytes, &UnpackLimits::USUAL)
}

fn judged(contents: &PackageManifest, bytes: u64, limits: &UnpackLimits) -> Option<PackageProblem> {
    let sizes = contents.files.iter().map(|entry| match entry.kind {
        EntryKind::File { size, .. } => size,
        EntryKind::Link { .. } => 0,
    });
    let content = sizes.fold(0_u64, u64::saturating_add);
    let around = (contents.files.len() as u64).saturating_mul(BYTES_AROUND);
    if names(contents) > limits.entries {
        Some(PackageProblem::TooMany { limit: limits.entries })
    } else if content.saturating_add(around) > limits.bytes {
        Some(PackageProblem::TooLarge { limit: limits.bytes })
    } else if limits.is_bomb(content.saturating_add(around), bytes) {
        Some(PackageProblem::Bomb { limit: limits.ratio })
    } else {
        None
    }
}

/// Counts files, links, the folders above them, and the list itself.
fn names(contents: &PackageManifest) -> usize {
    let mut folders = BTreeSet::new();
    for entry in &contents.files {
        // What is above a known folder is known too.
        let above =
            Path::new(&entry.path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        for folder in above {
            if !folders.insert(folder) {
                break;
            }
        }
    }
    folders.len() + contents.files.len() + 1
}

#[cfg(test)]
mod tests {
    use lockstep_domain::Digest;

    use super::super::{Entry, Mode};
    use super::*;

    fn contents(files: &[(&str, u64)]) -> PackageManifest {
        let digest = Digest::from_bytes([1; 32]);
        let entry = |(path, size): &(&str, u64)| Entry {
            path: (*path).to_owned(),
            kind: EntryKind::File { size: *size, digest, mode: Mode::Plain },
        };
        PackageManifest {
            format: 2,
            service: "orders".parse().unwrap(),
            commit: None,
            builder: String::new(),
            tools: std::collections::BTreeMap::new(),
            files: files.iter().map(entry).collect(),
        }
    }

    #[test]
    fn what_would_be_refused_where_it_runs_is_refused_here() {
        let limits = UnpackLimits { bytes: 100_000_000, entries: 5, ratio: 250 };
        let judged = |files: &[(&str, u64)], bytes| judged(&contents(files), bytes, &limits);
        assert_eq!(judged(&[("a/b/c", 1), ("a/d", 1)], 10), None, "two files, two folders, the list");
        let many = judged(&[("a/b/c", 1), ("a/b/d", 1), ("e", 1)], 10);
        assert_eq!(many, Some(PackageProblem::TooMany { limit: 5 }));
        let large = judged(&[("a", 100_000_000)], 50_000_000);
        assert_eq!(large, Some(PackageProblem::TooLarge { limit: 100_000_000 }));
        let bomb = judged(&[("a", 50_000_000)], 100_000);
        assert_eq!(bomb, Some(PackageProblem::Bomb { limit: 250 }));
    }
}
