//! Signed requests as RFC 8555 (6.2) has them, verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

/// The key of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    x: String,
    y: String,
}

/// What was signed, and by whom.
pub(crate) struct Signed {
    pub(crate) nonce: String,
    pub(crate) url: String,
    pub(crate) key: Option<Key>,
    pub(crate) account: Option<String>,
    /// Null for a request that only reads.
    pub(crate) payload: Value,
    message: String,
    signature: Vec<u8>,
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string())
}

fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "a text is missing".to_owned())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_slice(&decoded(text)?).map_err(|error| error.to_string())
}

impl Key {
    fn read(jwk: &Value) -> Result<Self, String> {
        let is_p256 = jwk["kty"] == "EC" && jwk["crv"] == "P-256";
        let key = Self { x: text(&jwk["x"])?, y: text(&jwk["y"])? };
        if is_p256 { Ok(key) } else { Err("the key is of another kind".into()) }
    }

    pub(crate) fn verify(&self, signed: &Signed) -> Result<(), String> {
        let point = [vec![4], decoded(&self.x)?, decoded(&self.y)?].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(signed.message.as_bytes(), &signed.signature).map_err(|_| "the signature is wrong".into())
    }

    /// What tells it from every other one (RFC 7638).
    pub(crate) fn thumbprint(&self) -> String {
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y);
        URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
    }
}

impl Signed {
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let whole: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let (head, payload) = (text(&whole["protected"])?, text(&whole["payload"])?);
        let protected = json(&head)?;
        if protected["alg"] != "ES256" {
            return Err("another algorithm".into());
        }
        let jwk = &protected["jwk"];
        Ok(Self {
            nonce: text(&protected["nonce"])?,
            url: text(&protected["url"])?,
            key: if jwk.is_null() { None } else { Some(Key::read(jwk)?) },
            account: protected["kid"].as_str().map(str::to_owned),
            payload: if payload.is_empty() { Value::Null } else { json(&payload)? },
            signature: decoded(&text(&whole["signature"])?)?,
            message: format!("{head}.{payload}"),
        })
    }
}

/// Tells whether an account is bound to an external one by its key (RFC 8555, 7.3.4).
pub(crate) fn is_bound(binding: &Value, (name, secret): (&str, &[u8]), key: &Key) -> bool {
    let checked = || -> Result<bool, String> {
        let (head, payload) = (text(&binding["protected"])?, text(&binding["payload"])?);
        let protected = json(&head)?;
        let mac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let signature = decoded(&text(&binding["signature"])?)?;
        let is_good = ring::hmac::verify(&mac, format!("{head}.{payload}").as_bytes(), &signature).is_ok();
        let of_it = protected["alg"] == "HS256" && protected["kid"] == name;
        Ok(is_good && of_it && Key::read(&json(&payload)?)? == *key)
    };
    checked().unwrap_or(false)
}
