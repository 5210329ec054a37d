//! Sizes for people.

/// Units of bytes, each 1,024 of the one before.
const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// Writes a size in its largest unit: `0 bytes`, `512 bytes`, `4.8 KiB`, `1.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1_024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_in_its_largest_unit() {
        let written = [0, 1_023, 1_024, 5_000, 1_048_575, 1_048_576, u64::MAX].map(size);
        let expected =
            ["0 bytes", "1023 bytes", "1.0 KiB", "4.8 KiB", "1023.9 KiB", "1.0 MiB", "16383.9 PiB"];
        assert_eq!(written, expected);
    }
}
