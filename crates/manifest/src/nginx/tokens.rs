//! The words of an nginx configuration, with their lines.

use super::NginxError;

/// A word, or what divides words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Reads the words of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, NginxError> {
    let (mut tokens, mut line) = (Vec::new(), 1);
    let mut chars = text.chars().peekable();
    while let Some(&next) = chars.peek() {
        match next {
            '\n' => {
                line += 1;
                chars.next();
            }
            space if space.is_whitespace() => {
                chars.next();
            }
            '#' => while chars.next_if(|it| *it != '\n').is_some() {},
            '{' | '}' | ';' => {
                let token = match next {
                    '{' => Token::Open,
                    '}' => Token::Close,
                    _ => Token::End,
                };
                tokens.push((line, token));
                chars.next();
            }
            '"' | '\'' => {
                let begun = line;
                chars.next();
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some('\\') => word.extend(chars.next()),
                        Some(end) if end == next => break,
                        Some(inner) => {
                            line += usize::from(inner == '\n');
                            word.push(inner);
                        }
                        None => {
                            let what = "a quote does not end".to_owned();
                            return Err(NginxError { line: begun, what });
                        }
                    }
                }
                tokens.push((begun, Token::Word(word)));
            }
            _ => tokens.push((line, Token::Word(word(&mut chars)))),
        }
    }
    Ok(tokens)
}

/// A word without quotes; `${name}` and braces of expressions belong to it.
fn word(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(&next) = chars.peek() {
        let is_variable = next == '{' && word.ends_with('$');
        let ends_variable = next == '}' && word.contains("${") && !word.contains('}');
        let divides = next.is_whitespace() || matches!(next, '{' | '}' | ';');
        if divides && !is_variable && !ends_variable {
            break;
        }
        word.push(next);
        chars.next();
        if next == '\\' {
            word.extend(chars.next_if(|it| *it != '\n'));
        }
    }
    word
}
