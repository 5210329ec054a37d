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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_named_whatever_else_it_says() {
        let error = parse_table(br#"{"format":99,"services":7,"rules":"of another kind"}"#).unwrap_err();
        assert!(matches!(error, TableError::NewerFormat { format: 99 }), "{error}");
        assert!(error.to_string().contains("upgrade it first"));
        assert!(matches!(parse_table(b"{").unwrap_err(), TableError::Text(_)));
        assert!(matches!(parse_table(br#"{"format":1}"#).unwrap_err(), TableError::Text(_)));
    }
}
