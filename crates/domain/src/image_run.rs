//! How a version runs that is an image: in a root of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an image says of where and as whom it runs. In a manifest it is empty: the image of each release fills it in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageRun {
    /// Where it runs, from the root of the image on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// As which user of the image.
    pub user: u32,
    /// And of which group.
    pub group: u32,
    /// Arguments of the manifest in place of those of the image; they are part of the command once it is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Vec<String>>,
}

/// Takes a text as it stands, whatever it has in it: what an image says has no references to be filled in.
#[must_use]
pub fn verbatim(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Reader, fill, references};

    #[test]
    fn what_an_image_says_is_never_a_reference() {
        for text in ["exec java ${JAVA_OPTS}", "$${x}", "${self.port}", "${", "$", "plain"] {
            assert_eq!(references(&verbatim(text), Reader::Program), Ok(Vec::new()));
            assert_eq!(fill(&verbatim(text), |_| None).as_deref(), Ok(text));
        }
    }
}
