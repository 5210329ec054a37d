//! Masking of secrets in a stream of bytes, however the stream is cut into pieces.

/// What stands in a log in the place of a secret.
pub const MASK: &[u8] = b"***";
/// Shorter values are not masked: they would hide half of every log (`true`, `80`, `prod`) and protect nothing.
pub const MIN_SECRET_LENGTH: usize = 6;

/// Replaces secrets in a stream. Bytes that may begin a secret are held back until the next piece decides.
#[derive(Debug)]
pub(crate) struct Masker {
    /// Longest first, so that a secret which contains another is masked as a whole.
    secrets: Vec<Vec<u8>>,
    begins_secret: [bool; 256],
    held: Vec<u8>,
}

/// What the bytes at one place are.
enum Match {
    Secret(usize),
    Undecided,
    Plain,
}

impl Masker {
    pub(crate) fn new(secrets: &[String]) -> Self {
        let mut secrets: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| parts(secret)).collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        let mut begins_secret = [false; 256];
        for first in secrets.iter().filter_map(|secret| secret.first()) {
            begins_secret[usize::from(*first)] = true;
        }
        Self { secrets, begins_secret, held: Vec::new() }
    }

    /// Returns what of the stream so far can be shown.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.held);
        input.extend_from_slice(piece);
        let (output, rest) = self.mask(&input, Last::No);
        self.held = input.split_off(rest);
        output
    }

    /// Returns the rest at the end of the stream.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let input = std::mem::take(&mut self.held);
        self.mask(&input, Last::Yes).0
    }

    /// Masks from the front; returns the output and where the undecided rest begins.
    fn mask(&self, input: &[u8], last: Last) -> (Vec<u8>, usize) {
        let mut output = Vec::with_capacity(input.len());
        let mut at = 0;
        while at < input.len() {
            match self.look_at(&input[at..], last) {
                Match::Secret(length) => {
                    output.extend_from_slice(MASK);
                    at += length;
                }
                Match::Undecided => break,
                Match::Plain => {
                    output.push(input[at]);
                    at += 1;
                }
            }
        }
        (output, at)
    }

    fn look_at(&self, input: &[u8], last: Last) -> Match {
        if !input.first().is_some_and(|first| self.begins_secret[usize::from(*first)]) {
            return Match::Plain;
        }
        for secret in &self.secrets {
            if input.starts_with(secret) {
                return Match::Secret(secret.len());
            }
            if last == Last::No && secret.starts_with(input) {
                return Match::Undecided;
            }
        }
        Match::Plain
    }
}

/// Masks secrets in bytes that are there as a whole.
pub(crate) fn masked(secrets: &[String], bytes: &[u8]) -> Vec<u8> {
    Masker::new(secrets).mask(bytes, Last::Yes).0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

/// A value, and each of its lines: programs print a key of several lines with an indent of their own.
fn parts(secret: &str) -> Vec<Vec<u8>> {
    let whole = std::iter::once(secret);
    let lines = secret.lines().map(str::trim);
    let long_enough = |part: &&str| part.len() >= MIN_SECRET_LENGTH;
    whole.chain(lines).filter(long_enough).map(|part| part.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[&str], pieces: &[&str]) -> String {
        let secrets: Vec<String> = secrets.iter().map(ToString::to_string).collect();
        let mut masker = Masker::new(&secrets);
        let mut output: Vec<u8> = pieces.iter().flat_map(|piece| masker.push(piece.as_bytes())).collect();
        output.extend(masker.finish());
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_secret_cut_by_a_piece_is_still_masked() {
        assert_eq!(masked(&["hunter22"], &["pass=hun", "ter2", "2!"]), "pass=***!");
        assert_eq!(masked(&["hunter22"], &["pass=hunter", "\n"]), "pass=hunter\n");
    }

    #[test]
    fn the_longer_of_two_secrets_wins_even_across_pieces() {
        assert_eq!(masked(&["secret", "secret-and-more"], &["secret", "-and-more secret"]), "*** ***");
    }

    #[test]
    fn lines_of_a_key_are_masked_one_by_one() {
        assert_eq!(masked(&["-----BEGIN\nabcdefgh\n"], &["  abcdefgh\n"]), "  ***\n");
    }

    #[test]
    fn short_values_do_not_hide_the_log() {
        assert_eq!(masked(&["true", ""], &["true story"]), "true story");
    }

    proptest! {
        #[test]
        fn cutting_the_stream_does_not_change_the_output(
            text in "[ab]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..6)
        ) {
            let secrets = ["abaaba", "aabbaabb", "bbbbbb"];
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            prop_assert_eq!(masked(&secrets, &pieces), masked(&secrets, &[&text]));
        }
    }
}
