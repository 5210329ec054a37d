//! One case: what a client sends, and what the backend says.

/// What is tried.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// By which rule it was made.
    pub(crate) family: &'static str,
    /// What was put in.
    pub(crate) name: String,
    /// What the client sends, each piece by itself.
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) then: Then,
    /// Answers that the client waits for before it asks again.
    pub(crate) answers: usize,
    /// Whether its first answer has no body, because `HEAD` was asked.
    pub(crate) head: bool,
    /// What the backend says to it; what it understood, otherwise.
    pub(crate) script: Option<Script>,
}

/// What a client does after it has sent all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Reads, and asks again on the same connection.
    Stay,
    /// Ends its sending, and reads.
    EndSending,
    /// Leaves after so many bytes of the answer.
    Leave(usize),
}

/// What the backend says.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) when: When,
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) end: End,
}

/// When the backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before it is asked.
    Connected,
    /// When it has the head of the request.
    Head,
    /// When it has all of the request.
    Request,
}

/// What the backend does when it has spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stay,
    Close,
    Reset,
}

impl Case {
    /// A case of what a client sends.
    pub(crate) fn request(family: &'static str, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            family,
            name: name.into(),
            sent: vec![bytes.into()],
            then: Then::Stay,
            answers: 1,
            head: false,
            script: None,
        }
    }

    /// A case of what the backend says to a plain request.
    pub(crate) fn answer(family: &'static str, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let plain = "GET /case HTTP/1.1\r\nhost: shop.test\r\n\r\n";
        let script = Script { when: When::Request, pieces: vec![bytes.into()], end: End::Stay };
        Self { script: Some(script), ..Self::request(family, name, plain) }
    }

    /// The same, and the backend ends the connection behind it.
    pub(crate) fn closing(self) -> Self {
        self.ending(End::Close)
    }

    pub(crate) fn ending(mut self, end: End) -> Self {
        if let Some(script) = &mut self.script {
            script.end = end;
        }
        self
    }

    pub(crate) fn when(mut self, when: When) -> Self {
        if let Some(script) = &mut self.script {
            script.when = when;
        }
        self
    }

    pub(crate) fn asked(mut self, request: impl Into<Vec<u8>>) -> Self {
        self.sent = vec![request.into()];
        self
    }

    pub(crate) fn of_head(mut self) -> Self {
        self.head = true;
        self.sent = vec![b"HEAD /case HTTP/1.1\r\nhost: shop.test\r\n\r\n".to_vec()];
        self
    }

    pub(crate) fn answers(mut self, answers: usize) -> Self {
        self.answers = answers;
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Tells whether what the backend says is what is tried.
    pub(crate) fn is_of_answers(&self) -> bool {
        self.script.is_some()
    }
}

/// A family of cases, and how one is made of a byte.
pub(crate) type OfByte = (&'static str, fn(u8) -> Vec<u8>);

/// A byte as it is named in a case.
pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
