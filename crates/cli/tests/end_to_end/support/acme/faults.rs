//! What the authority of the test does wrong, by a seed where it is by chance.

use super::Answer;

/// What it does wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Of a hundred answers so many are 503, or that the nonce is not known.
    pub(crate) percent: u64,
    pub(crate) seed: u64,
    /// How often an order says that it is at it before there is a certificate.
    pub(crate) processing: u32,
    /// Answers 429 to that many orders, and asks to wait so many seconds.
    pub(crate) limited: (u32, u64),
    /// The one kind of challenge that is offered; both when left out.
    pub(crate) only: Option<&'static str>,
    /// Name and key of the external account that is demanded.
    pub(crate) external_account: Option<(String, Vec<u8>)>,
    /// Looks at hosts at the wrong port: finds nobody.
    pub(crate) finds_nobody: bool,
    /// Puts this before each token.
    pub(crate) token_prefix: &'static str,
    /// The certificate is for another host, or is over.
    pub(crate) wrong_host: bool,
    pub(crate) over: bool,
    /// Answers this to everything that begins with a path: status, further field, content.
    pub(crate) instead: Option<(&'static str, u16, &'static str, String)>,
}

/// An answer in the place of the right one.
pub(super) struct Odd(Answer);

impl From<Odd> for Answer {
    fn from(odd: Odd) -> Self {
        odd.0
    }
}

impl Faults {
    pub(super) fn instead_of(&mut self, path: &str) -> Option<Odd> {
        if let Some((begins, status, field, content)) = &self.instead
            && path.starts_with(begins)
        {
            let (name, value) = field.split_once(": ").unwrap_or(("x", ""));
            let fields = if name == "x" { Vec::new() } else { vec![(name, value.to_owned())] };
            return Some(Odd(Answer(*status, fields, content.clone())));
        }
        if path == "/order" && self.limited.0 > 0 {
            self.limited.0 -= 1;
            let answer = Answer::problem(429, "rateLimited", "too many orders")
                .with("retry-after", self.limited.1.to_string());
            return Some(Odd(answer));
        }
        self.happens().then(|| Odd(Answer(503, Vec::new(), "<html>busy".into())))
    }

    pub(super) fn forgets_nonces(&mut self) -> bool {
        self.happens()
    }

    pub(super) fn offers(&self, kind: &str) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    pub(super) fn token(&self, order: usize, look: usize) -> String {
        format!("{}token-{order}-{look}-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", self.token_prefix)
    }

    /// By xorshift.
    fn happens(&mut self) -> bool {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.percent > 0 && self.seed % 100 < self.percent
    }
}
