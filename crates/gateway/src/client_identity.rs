//! Who a client is by its certificate, as services are told: an element of `x-forwarded-client-cert`, in the form of Envoy.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

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
    add(&mut text, "Subject", &distinguished(certificate.subject()));
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

/// Writes a name as RFC 4514 has it, its last part first.
fn distinguished(name: &X509Name<'_>) -> String {
    let part = |part: &x509_parser::x509::RelativeDistinguishedName<'_>| {
        part.iter().map(attribute).collect::<Vec<_>>().join("+")
    };
    let mut parts: Vec<String> = name.iter().map(part).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    let name = oid2abbrev(kind, oid_registry()).map_or_else(|_| kind.to_id_string(), str::to_owned);
    match attribute.as_str() {
        Ok(value) => format!("{name}={}", escaped(value)),
        Err(_) => {
            let hex: String = attribute.attr_value().data.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("{name}=\\23{hex}")
        }
    }
}

/// Writes what has a meaning in a name, and all that is not ASCII, as a backslash and two digits: so whether who reads it takes
/// the backslash off first or not, nothing in a value is ever taken for the beginning of another.
fn escaped(value: &str) -> String {
    let (mut text, last) = (String::new(), value.len().saturating_sub(1));
    for (at, byte) in value.bytes().enumerate() {
        let is_odd_space = byte == b' ' && (at == 0 || at == last);
        if is_odd_space || !(0x20..0x7f).contains(&byte) || br##""#+,;<>=\"##.contains(&byte) {
            // A string takes all that is written to it.
            let _ = write!(text, "\\{byte:02X}");
        } else {
            text.push(char::from(byte));
        }
    }
    text
}

/// Adds a pair, in quotes where its value would end it or begin another.
fn add(text: &mut String, name: &str, value: &str) {
    // What cannot stand in a header field is not shown, rather than shown as something else.
    let is_plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    // A backslash before the closing quote would take it off; addresses of hosts and resources have none.
    let is_plain = is_plain && (name == "Subject" || !value.contains('\\'));
    if !is_plain || value.is_empty() || text.len() + value.len() * 2 > MAX_ELEMENT {
        return;
    }
    let quoted = name == "Subject" || value.contains([',', ';', '=', '"']);
    let value = value.replace('"', "\\\"");
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
        add(&mut text, "URI", "a\\");
        add(&mut text, "DNS", "a\r\nb");
        add(&mut text, "DNS", &"a".repeat(MAX_ELEMENT));
        assert_eq!(text, ";URI=\"spiffe://shop/a;DNS=admin\";URI=\"a\\\"b\"");
        assert_eq!(element(b"none"), format!("Hash={}", crate_hash(b"none")));
    }

    #[test]
    fn nothing_in_a_subject_looks_like_another_part_of_it() {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CountryName, "DE");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Müller + Söhne, Inc.");
        params.distinguished_name.push(rcgen::DnType::CommonName, " ann,O=admin\";URI=\"x\\");
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let text = element(certificate.der());
        let expected = concat!(
            r#";Subject="CN=\20ann\2CO\3Dadmin\22\3BURI\3D\22x\5C,"#,
            r#"O=M\C3\BCller \2B S\C3\B6hne\2C Inc.,C=DE""#
        );
        assert!(text.ends_with(expected), "{text}");
    }

    fn crate_hash(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
