//! Reads single fields of flat JSON objects that are texts, and writes strings.

/// Returns the field of a flat JSON object as it is written, with its quotes if it is a string.
fn raw<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = object.trim().strip_prefix('{')?.trim_start();
    loop {
        let (key, after) = split_string(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let end = if value.starts_with('"') {
            value.len() - split_string(value)?.1.len()
        } else {
            value.find([',', '}'])?
        };
        if key == name {
            return Some(value[..end].trim_end());
        }
        rest = value[end..].trim_start().strip_prefix(',')?.trim_start();
    }
}

/// Splits a string literal from what follows it. Texts with escapes are nobody's names here, and are refused.
fn split_string(text: &str) -> Option<(&str, &str)> {
    let (inside, rest) = text.strip_prefix('"')?.split_once('"')?;
    (!inside.contains('\\')).then_some((inside, rest))
}

/// Returns a string field.
pub fn text<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    raw(object, name)?.strip_prefix('"')?.strip_suffix('"')
}

/// Writes a string literal.
pub fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let object = r#"{ "item": "tea", "price_cents" : 350 ,"x":true}"#;
        assert_eq!(text(object, "item"), Some("tea"));
        assert_eq!(raw(object, "price_cents"), Some("350"));
        assert_eq!((text(object, "x"), text(object, "y")), (None, None));
    }

    #[test]
    fn what_is_no_flat_object_has_no_fields() {
        for object in ["", "{}", "[1]", "{\"item\"", "{\"item\":", "{\"item\":\"te\\\"a\"}", "{item:1}"] {
            assert_eq!(text(object, "item"), None, "{object}");
        }
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }
}
