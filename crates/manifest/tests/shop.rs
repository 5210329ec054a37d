//! The manifests of the sample fleet are read without a problem and agree with each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_domain::ServiceName;
use lockstep_manifest::{MANIFEST_FILE, Manifest, parse};

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let own = files.into_iter().filter(|path| path.ends_with(MANIFEST_FILE));
    own.chain(folders.iter().flat_map(|folder| manifests(folder))).collect()
}

fn read(path: &Path) -> Manifest {
    let text = fs::read_to_string(path).expect("the file can be read");
    parse(&text, &path.display().to_string()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn every_manifest_of_the_shop_is_sound_and_requires_only_its_services() {
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
    let manifests: Vec<_> = manifests(&shop).iter().map(|path| read(path)).collect();
    let names: BTreeSet<_> = manifests.iter().map(|manifest| manifest.name.clone()).collect();
    assert_eq!(
        names.iter().map(ServiceName::as_str).collect::<Vec<_>>(),
        ["catalog", "orders", "payments", "storefront"]
    );
    for manifest in &manifests {
        assert!(manifest.requires.keys().all(|name| names.contains(name)), "{}", manifest.name);
    }
}
