//! The manifests of the sample fleet are read without a problem and agree with each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_domain::ServiceName;
use lockstep_domain::contract::ContractKind;
use lockstep_manifest::{ContractOrigin, MANIFEST_FILE, Manifest, parse};

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

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop")
}

#[test]
fn every_manifest_of_the_shop_is_sound_and_requires_only_its_services() {
    let manifests: Vec<_> = manifests(&shop()).iter().map(|path| read(path)).collect();
    let names: BTreeSet<_> = manifests.iter().map(|manifest| manifest.name.clone()).collect();
    assert_eq!(
        names.iter().map(ServiceName::as_str).collect::<Vec<_>>(),
        ["catalog", "mailer", "orders", "payments", "storefront"]
    );
    for manifest in &manifests {
        assert!(manifest.requires.keys().all(|name| names.contains(name)), "{}", manifest.name);
    }
}

#[test]
fn the_shop_has_contracts_of_three_kinds_and_all_that_are_named_are_there() {
    let mut kinds = BTreeSet::new();
    for path in manifests(&shop()) {
        let (manifest, folder) = (read(&path), path.parent().expect("a file is in a folder"));
        for contract in &manifest.contracts {
            let ContractOrigin::Path(place) = &contract.origin else { panic!("{contract:?}") };
            assert!(folder.join(place.as_str()).exists(), "{place:?} of {}", manifest.name);
            kinds.insert(contract.kind);
        }
        for (provider, needed) in &manifest.requires {
            let place = needed.contract.as_ref().expect("it says what it was built against");
            assert!(folder.join(place.as_str()).is_file(), "{provider} as {} knows it", manifest.name);
        }
    }
    assert_eq!(kinds, BTreeSet::from([ContractKind::OpenApi, ContractKind::Protobuf, ContractKind::Sql]));
}
