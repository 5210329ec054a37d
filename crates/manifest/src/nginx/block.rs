//! The directives of an nginx configuration, one in the other.

use std::fmt;

use super::NginxError;
use super::tokens::{Token, tokens};

/// How deep blocks may lie in each other.
const MAX_DEPTH: usize = 32;

/// A directive with its words, and what stands in its braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) words: Vec<String>,
    pub(super) block: Vec<Directive>,
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.words.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

/// Reads a configuration.
pub(super) fn read(text: &str) -> Result<Vec<Directive>, NginxError> {
    let tokens = tokens(text)?;
    let mut tokens = tokens.into_iter();
    let (directives, closed) = block(&mut tokens, MAX_DEPTH)?;
    match closed {
        None => Ok(directives),
        Some(line) => Err(NginxError { line, what: "a brace ends that did not begin".to_owned() }),
    }
}

/// Reads directives until a brace ends, and returns its line; `None` at the end of the text.
fn block(
    tokens: &mut impl Iterator<Item = (usize, Token)>,
    depth: usize,
) -> Result<(Vec<Directive>, Option<usize>), NginxError> {
    let (mut directives, mut words, mut begun) = (Vec::new(), Vec::<String>::new(), 0);
    let error = |line, what: &str| NginxError { line, what: what.to_owned() };
    while let Some((line, token)) = tokens.next() {
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    begun = line;
                }
                words.push(word);
            }
            Token::End | Token::Open if words.is_empty() => {
                return Err(error(line, "a directive has a name"));
            }
            Token::End => directives.push(directive(begun, &mut words, Vec::new())),
            Token::Open => {
                let below =
                    depth.checked_sub(1).ok_or_else(|| error(line, "blocks lie too deep in each other"))?;
                let (inner, closed) = block(tokens, below)?;
                if closed.is_none() {
                    return Err(error(line, "a brace does not end"));
                }
                directives.push(directive(begun, &mut words, inner));
            }
            Token::Close if words.is_empty() => return Ok((directives, Some(line))),
            Token::Close => return Err(error(begun, "a directive ends with `;`")),
        }
    }
    if words.is_empty() { Ok((directives, None)) } else { Err(error(begun, "a directive ends with `;`")) }
}

fn directive(line: usize, words: &mut Vec<String>, block: Vec<Directive>) -> Directive {
    let mut words = std::mem::take(words).into_iter();
    Directive { line, name: words.next().unwrap_or_default(), words: words.collect(), block }
}
