//! Types that are stored and sent as the text that they are parsed from.

/// Makes a type that is parsed (`FromStr`) and shown (`Display`) one that serde reads and writes as that text: for
/// `#[serde(try_from = "String", into = "String")]`.
macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = <Self as std::str::FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

pub(crate) use as_text;
