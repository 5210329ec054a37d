//! Logical types: what the bytes of an underlying type mean.
//!
//! A logical type that is not known, or is not allowed on its type, is ignored by readers that follow the specification, and
//! others register their own: so it is kept with all that is said of it, and only what is equal is the same.

use std::fmt;

use jiff::civil;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::form::{Form, Primitive};

/// What a value means beyond its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Logical {
    Decimal {
        precision: u64,
        scale: u64,
    },
    /// One without parameters, by its name.
    Plain(&'static str),
    /// One that is not known, or that the type may not have, with all that is said of it.
    Unknown {
        name: String,
        said: Map<String, Value>,
    },
}

/// The logical types without parameters, with what they may stand on; a number is a size in bytes.
const PLAIN: [(&str, &[On]); 12] = [
    ("big-decimal", &[On::Type(Primitive::Bytes)]),
    ("uuid", &[On::Type(Primitive::String), On::Fixed(16)]),
    ("date", &[On::Type(Primitive::Int)]),
    ("time-millis", &[On::Type(Primitive::Int)]),
    ("time-micros", &[On::Type(Primitive::Long)]),
    ("timestamp-millis", &[On::Type(Primitive::Long)]),
    ("timestamp-micros", &[On::Type(Primitive::Long)]),
    ("timestamp-nanos", &[On::Type(Primitive::Long)]),
    ("local-timestamp-millis", &[On::Type(Primitive::Long)]),
    ("local-timestamp-micros", &[On::Type(Primitive::Long)]),
    ("local-timestamp-nanos", &[On::Type(Primitive::Long)]),
    ("duration", &[On::Fixed(12)]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Type(Primitive),
    Fixed(u64),
}

impl Logical {
    /// Reads what is said of a type.
    pub(super) fn of(map: &Map<String, Value>, form: &Form) -> Option<Self> {
        let name = map.get("logicalType")?;
        let on = match form {
            Form::Primitive(primitive) => Some(On::Type(*primitive)),
            Form::Fixed(_, size) => Some(On::Fixed(*size)),
            _ => None,
        };
        let known = name.as_str().and_then(|name| known(name, map, on?));
        Some(known.unwrap_or_else(|| Self::Unknown {
            name: name.as_str().map_or_else(|| name.to_string(), str::to_owned),
            said: parameters(map),
        }))
    }

    /// True when any value of the underlying type is one of this; the others have values that a reader refuses.
    pub(super) fn takes_all(&self) -> bool {
        !matches!(self, Self::Decimal { .. } | Self::Plain("uuid" | "big-decimal") | Self::Unknown { .. })
    }

    /// What a value of the underlying type means, as text; nothing where that is not known.
    pub(super) fn read(&self, value: &Value) -> Option<String> {
        match self {
            Self::Decimal { scale, .. } => Some(decimal(unscaled(value.as_str()?)?, *scale)),
            Self::Plain("uuid") => value.as_str().filter(|text| is_uuid(text)).map(str::to_owned),
            Self::Plain(name) => moment(name, value.as_i64()?),
            Self::Unknown { .. } => None,
        }
    }

    /// A value that this type has.
    pub(super) fn example(&self, form: &Form) -> Option<Value> {
        match (self, form) {
            (Self::Decimal { .. }, Form::Fixed(_, size)) => {
                let size = usize::try_from(*size).ok().filter(|size| *size <= MAX_FIXED)?;
                Some(format!("{}\u{1}", "\0".repeat(size.saturating_sub(1))).into())
            }
            (Self::Decimal { .. }, _) => Some("\u{1}".into()),
            (Self::Plain("uuid"), Form::Primitive(_)) => Some("9f2b3c1e-5d4a-4c1b-8e7f-0a1b2c3d4e5f".into()),
            (Self::Plain("big-decimal"), _) => Some("\u{2}\u{1}\0".into()),
            (Self::Plain("date"), _) => Some(20_000.into()),
            (Self::Plain("time-millis"), _) => Some(3_600_000.into()),
            (Self::Plain("time-micros"), _) => Some(3_600_000_000_i64.into()),
            (Self::Plain(name), Form::Primitive(_)) if name.ends_with("-millis") => {
                Some(1_800_000_000_000_i64.into())
            }
            (Self::Plain(name), Form::Primitive(_)) if name.ends_with("-micros") => {
                Some(1_800_000_000_000_000_i64.into())
            }
            (Self::Plain(name), Form::Primitive(_)) if name.ends_with("-nanos") => {
                Some(1_800_000_000_000_000_000_i64.into())
            }
            _ => None,
        }
    }
}

/// Longest fixed of which an example is made.
pub(super) const MAX_FIXED: usize = 1_024;

impl fmt::Display for Logical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Plain(name) => f.write_str(name),
            Self::Unknown { name, .. } => f.write_str(name),
        }
    }
}

fn known(name: &str, map: &Map<String, Value>, on: On) -> Option<Logical> {
    if name == "decimal" {
        let precision = map.get("precision")?.as_u64().filter(|precision| *precision > 0)?;
        let scale = map.get("scale").map_or(Some(0), Value::as_u64)?;
        let fits = match on {
            On::Type(Primitive::Bytes) => true,
            On::Fixed(size) => precision <= digits(size),
            On::Type(_) => false,
        };
        return (fits && scale <= precision).then_some(Logical::Decimal { precision, scale });
    }
    let (name, places) = PLAIN.iter().find(|(known, _)| *known == name)?;
    places.contains(&on).then_some(Logical::Plain(name))
}

/// The most digits that a number of so many bytes holds.
fn digits(bytes: u64) -> u64 {
    // log10(2) as a fraction: exact for every size that is used.
    (bytes.saturating_mul(8).saturating_sub(1)).saturating_mul(30_103) / 100_000
}

/// What may be a parameter: all that is said but names and words for people.
fn parameters(map: &Map<String, Value>) -> Map<String, Value> {
    const OTHERS: [&str; 9] =
        ["type", "name", "namespace", "aliases", "doc", "fields", "items", "values", "symbols"];
    let parameters = map.iter().filter(|(key, _)| !OTHERS.contains(&key.as_str()));
    parameters.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The number that bytes hold, big end first; nothing when there are none or too many.
pub(super) fn unscaled(text: &str) -> Option<i128> {
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<_>>()?;
    let first = *bytes.first().filter(|_| bytes.len() <= 16)?;
    let start = if first >= 0x80 { -1_i128 } else { 0 };
    Some(bytes.iter().fold(start, |number, byte| (number << 8) | i128::from(*byte)))
}

fn decimal(unscaled: i128, scale: u64) -> String {
    let scale = usize::try_from(scale).unwrap_or(usize::MAX).min(1_000);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn moment(name: &str, value: i64) -> Option<String> {
    let unit = name.rsplit('-').next()?;
    let span = match unit {
        "millis" => SignedDuration::from_millis(value),
        "micros" => SignedDuration::from_micros(value),
        _ => SignedDuration::from_nanos(value),
    };
    if name == "date" {
        let days = SignedDuration::from_hours(value.checked_mul(24)?);
        return civil::date(1970, 1, 1).checked_add(days).ok().map(|day| day.to_string());
    }
    if name.starts_with("time-") {
        return civil::Time::midnight().checked_add(span).ok().map(|time| time.to_string());
    }
    let at = Timestamp::UNIX_EPOCH.checked_add(span).ok()?;
    let local = name.starts_with("local-");
    Some(if local {
        format!("{} in whatever place", at.to_string().trim_end_matches('Z'))
    } else {
        at.to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_as_they_are_meant() {
        let plain = |name| Logical::Plain(name);
        let told = |logical: &Logical, value: Value| logical.read(&value).unwrap();
        assert_eq!(told(&plain("date"), 0.into()), "1970-01-01");
        assert_eq!(told(&plain("timestamp-millis"), 1_800_000_000_000_i64.into()), "2027-01-15T08:00:00Z");
        assert_eq!(told(&plain("time-micros"), 3_600_000_000_i64.into()), "01:00:00");
        assert_eq!(told(&Logical::Decimal { precision: 4, scale: 2 }, "\u{ff}".into()), "-0.01");
        assert_eq!(told(&Logical::Decimal { precision: 4, scale: 0 }, "\u{1}\u{0}".into()), "256");
        assert_eq!(plain("uuid").read(&"abc".into()), None);
    }

    #[test]
    fn as_many_digits_as_the_specification_says_fit_into_bytes() {
        assert_eq!([1, 2, 4, 8, 16].map(digits), [2, 4, 9, 18, 38]);
    }
}
