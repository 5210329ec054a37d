//! Signatures as each service wants them. Pure.
//!
//! - DingTalk (open.dingtalk.com, "Custom robot security settings"): HMAC-SHA256 of `TIMESTAMP\nSECRET` with the secret as key, in
//!   Base64, then percent-encoded into the query; the timestamp is in milliseconds. The page has code and no vector.
//! - Feishu (open.feishu.cn, "Custom bot usage guide"): HMAC-SHA256 of *nothing* with `TIMESTAMP\nSECRET` as key, in Base64, in the
//!   body; the timestamp is in seconds. The page has code and no vector.
//! - Standard Webhooks (github.com/standard-webhooks/webhooks, `spec/standard-webhooks.md`): HMAC-SHA256 of `ID.TIMESTAMP.BODY` with
//!   what `whsec_` is followed by, out of Base64, as key; in Base64 behind `v1,`. Its libraries share the vector in the tests below.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Signs for DingTalk; the result goes into a query.
pub(crate) fn dingtalk(secret: &str, at_ms: u64) -> String {
    percent(&hmac(secret.as_bytes(), format!("{at_ms}\n{secret}").as_bytes()))
}

/// Signs for Feishu.
pub(crate) fn feishu(secret: &str, at_s: u64) -> String {
    hmac(format!("{at_s}\n{secret}").as_bytes(), b"")
}

/// Signs as Standard Webhooks says; nothing where the secret is none.
pub(crate) fn standard(secret: &str, id: &str, at_s: u64, body: &[u8]) -> Option<String> {
    let key = standard_key(secret)?;
    let message = [format!("{id}.{at_s}.").as_bytes(), body].concat();
    Some(format!("v1,{}", hmac(&key, &message)))
}

/// Reads a secret of Standard Webhooks: 24 to 64 bytes.
pub(crate) fn standard_key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

/// Writes Base64 so that it can stand in a query.
fn percent(base64: &str) -> String {
    base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the libraries of Standard Webhooks.
    #[test]
    fn standard_webhooks_are_signed_as_its_libraries_do() {
        let signed = standard(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    /// What the code in the documents gives for the secrets in their examples (run with Python's hmac and base64).
    #[test]
    fn dingtalk_and_feishu_are_signed_as_the_code_in_their_documents_does() {
        assert_eq!(
            dingtalk("this is secret", 1_577_262_236_757),
            "hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D"
        );
        assert_eq!(feishu("demo", 1_599_360_473), "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=");
    }

    #[test]
    fn what_is_no_secret_of_standard_webhooks_signs_nothing() {
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_%%%"] {
            assert!(standard_key(bad).is_none(), "{bad}");
        }
    }
}
