//! Reading a route table: its format first, so that a newer one is named as such and not as a mistake in the text.

use lockstep_domain::routes::{ROUTE_TABLE_FORMAT, RouteTable};
use serde::Deserialize;
use thiserror::Error;

/// Why a text is no route table that this gateway can serve.
#[derive(Debug, Error)]
pub enum TableError {
    /// It was written by a newer program.
    #[error("it has format {format}; this gateway reads up to {ROUTE_TABLE_FORMAT}, upgrade it first")]
    NewerFormat {
        /// Its format.
        format: u32,
    },
    /// It is not a table.
    #[error(transparent)]
    Text(#[from] serde_json::Error),
}

/// What `entry` of a table can say.
const ENTRY: [&str; 7] =
    ["https_port", "http", "tls_min", "client_ca", "client_certificates", "proxy_networks", "certificates"];

/// What every format of a table has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads a table.
pub(super) fn parse_table(text: &[u8]) -> Result<RouteTable, TableError> {
    let Format { format } = serde_json::from_slice(text)?;
    if format > ROUTE_TABLE_FORMAT {
        return Err(TableError::NewerFormat { format });
    }
    Ok(serde_json::from_slice(text)?)
}

/// Names what `entry` of a table says and this program does not know: a setting that is misspelled would silently do nothing.
pub(super) fn unknown_of_entry(text: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct WithEntry {
        #[serde(default)]
        entry: serde_json::Map<String, serde_json::Value>,
    }
    let Ok(WithEntry { entry }) = serde_json::from_slice(text) else { return Vec::new() };
    entry.into_iter().map(|(key, _)| key).filter(|key| !ENTRY.contains(&key.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use lockstep_domain::certificate::TableCertificate;
    use lockstep_domain::entry::{ClientCertificates, Entry, EntrySettings, PlainHttp, TlsVersion};

    use super::*;

    fn full_entry() -> Entry {
        let settings = EntrySettings {
            https_port: Some(1),
            http: PlainHttp::Redirect,
            tls_min: TlsVersion::V1_3,
            client_ca: Some(String::new()),
            client_certificates: ClientCertificates::Optional,
            proxy_networks: vec!["10.0.0.0/8".parse().unwrap()],
        };
        let digest = lockstep_domain::Digest::from_bytes([0; 32]);
        Entry { settings, certificates: vec![TableCertificate { name: "shop".parse().unwrap(), digest }] }
    }

    #[test]
    fn what_entry_does_not_know_is_named_and_all_that_it_knows_is_not() {
        let text =
            br#"{"format":9,"entry":{"https_port":1,"tls_minimum":"1.3","http":"redirect","client-ca":""}}"#;
        assert_eq!(unknown_of_entry(text), ["tls_minimum", "client-ca"]);
        let full = serde_json::to_string(&full_entry()).unwrap();
        assert_eq!(unknown_of_entry(format!(r#"{{"entry":{full}}}"#).as_bytes()), [""; 0]);
        assert!(ENTRY.iter().all(|key| full.contains(&format!("\"{key}\":"))), "{full}");
        assert_eq!(unknown_of_entry(br#"{"format":1}"#), [""; 0]);
    }

    #[test]
    fn a_newer_format_is_named_whatever_else_it_says() {
        let error = parse_table(br#"{"format":99,"services":7,"rules":"of another kind"}"#).unwrap_err();
        assert!(matches!(error, TableError::NewerFormat { format: 99 }), "{error}");
        assert!(error.to_string().contains("upgrade it first"));
        assert!(matches!(parse_table(b"{").unwrap_err(), TableError::Text(_)));
        assert!(matches!(parse_table(br#"{"format":1}"#).unwrap_err(), TableError::Text(_)));
    }
}
