//! Who a client is by its certificate, as services are told: an element of `x-forwarded-client-cert`, in the form of Envoy.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Longest element: names of a certificate that would make it longer are left out.
const MAX_ELEMENT: usize = 2_048;

/// Writes what a certificate says of its owner: `Hash=…;Subject="…";URI=…;DNS=…`.
pub(crate) fn element(leaf: &[u8]) -> String {
    let mut text = String::from("Hash=");
    for byte in Sha256::digest(leaf) {
        // A string takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return text };
    add(&mut text, "Subject", &certificate.subject().to_string());
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::URI(uri) => add(&mut text, "URI", uri),
            GeneralName::DNSName(name) => add(&mut text, "DNS", name),
            _ => {}
        }
    }
    text
}

/// Adds a pair, in quotes where its value would end it or begin another.
fn add(text: &mut String, name: &str, value: &str) {
    // What cannot stand in a header field is not shown, rather than shown as something else.
    let is_plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !is_plain || value.is_empty() || text.len() + value.len() * 2 > MAX_ELEMENT {
        return;
    }
    let quoted = name == "Subject" || value.contains([',', ';', '=', '"']);
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    let quote = if quoted { "\"" } else { "" };
    let _ = write!(text, ";{name}={quote}{value}{quote}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::tests::made;

    #[test]
    fn names_of_a_certificate_are_told_and_cannot_become_others() {
        let made = made(&["client.shop.test"]);
        let text = element(made.certificate.der());
        assert!(text.starts_with("Hash=") && text.ends_with(";DNS=client.shop.test"), "{text}");
        let mut text = String::new();
        add(&mut text, "URI", "spiffe://shop/a;DNS=admin");
        add(&mut text, "URI", "a\"b");
        add(&mut text, "DNS", "a\r\nb");
        add(&mut text, "DNS", &"a".repeat(MAX_ELEMENT));
        assert_eq!(text, ";URI=\"spiffe://shop/a;DNS=admin\";URI=\"a\\\"b\"");
        assert_eq!(element(b"none"), format!("Hash={}", crate_hash(b"none")));
    }

    fn crate_hash(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
