//! A certificate for the shop, of an authority that is made for it and believed by its customers alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// The files of a certificate, in PEM.
pub(super) struct Certificate {
    /// The authority, which customers believe.
    pub(super) authority: PathBuf,
    /// The certificate, with that of the authority behind it.
    pub(super) chain: PathBuf,
    /// Its key.
    pub(super) key: PathBuf,
}

/// Makes a certificate for a host, in a folder.
pub(super) fn make(folder: &Path, host: &str) -> Result<Certificate> {
    let file = |name: &str| folder.join(name);
    let files = Certificate { authority: file("ca.pem"), chain: file("shop.pem"), key: file("shop.key") };
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "The demonstration's CA");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([host.to_owned()])?.signed_by(&key, &authority)?;
    fs::write(&files.authority, authority.pem())?;
    fs::write(&files.chain, certificate.pem() + &authority.pem())?;
    fs::write(&files.key, key.serialize_pem())?;
    Ok(files)
}
