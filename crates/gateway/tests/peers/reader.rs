//! How programs read requests: strictly, and with each of the habits by which requests are smuggled past one of two readers.
//!
//! What a proxy sends on is safe when every one of these readers sees the same requests in it.

/// In what a program departs from RFC 9112.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// A line feed alone ends a line.
    BareLf,
    /// A carriage return alone ends a line.
    BareCr,
    /// What cannot be seen in a name is passed over.
    TrimmedNames,
    /// `_` in a name is `-`, as for programs behind CGI.
    Underscores,
    /// Of a length and an encoding the length counts.
    LengthWins,
    /// Of several lengths the last counts.
    LastLength,
    /// Numbers are read as `strtol` does: a sign, `0x`, and nothing behind the digits matters.
    LooseNumbers,
    /// Any encoding with `chunked` in it is chunked.
    LooseEncoding,
    /// A line that begins with a space belongs to the one before.
    Folds,
}

/// A program that reads requests.
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    habits: &'static [Habit],
}

/// One that keeps to RFC 9112.
pub(crate) const STRICT: Reader = Reader { name: "strict", habits: &[] };

/// Those that have a habit.
pub(crate) const CARELESS: [Reader; 10] = [
    Reader { name: "a bare LF ends lines", habits: &[Habit::BareLf] },
    Reader { name: "a bare CR ends lines", habits: &[Habit::BareCr, Habit::BareLf] },
    Reader { name: "names are trimmed", habits: &[Habit::TrimmedNames] },
    Reader { name: "_ is -", habits: &[Habit::Underscores] },
    Reader { name: "the length wins", habits: &[Habit::LengthWins] },
    Reader { name: "the last length wins", habits: &[Habit::LastLength] },
    Reader { name: "numbers as strtol", habits: &[Habit::LooseNumbers] },
    Reader { name: "any chunked", habits: &[Habit::LooseEncoding] },
    Reader { name: "lines fold", habits: &[Habit::Folds] },
    Reader {
        name: "all of it",
        habits: &[
            Habit::BareLf,
            Habit::TrimmedNames,
            Habit::Underscores,
            Habit::LooseNumbers,
            Habit::LooseEncoding,
        ],
    },
];

/// A request as a program sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn is_for(&self, target: &str) -> bool {
        self.target == target.as_bytes()
    }
}

/// What reading comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// It is there, and took so many bytes.
    Whole(T, usize),
    More,
    Broken,
}

/// How reading everything ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    More,
    Broken,
}

struct Head {
    method: Vec<u8>,
    target: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Reader {
    fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    /// Reads the request at the beginning.
    pub(crate) fn read(&self, bytes: &[u8]) -> Step<Seen> {
        let (head, used) = match self.head(bytes) {
            Step::Whole(head, used) => (head, used),
            Step::More => return Step::More,
            Step::Broken => return Step::Broken,
        };
        let body = match self.framing(&head) {
            None => return Step::Broken,
            Some(Framing::Length(length)) => match bytes.get(used..used.saturating_add(length)) {
                Some(body) => Step::Whole(body.to_vec(), length),
                None => Step::More,
            },
            Some(Framing::Chunked) => self.chunks(&bytes[used..]),
        };
        match body {
            Step::Whole(body, length) => {
                Step::Whole(Seen { method: head.method, target: head.target, body }, used + length)
            }
            Step::More => Step::More,
            Step::Broken => Step::Broken,
        }
    }

    /// Tells whether a whole head is at the beginning.
    pub(crate) fn has_head(&self, bytes: &[u8]) -> bool {
        matches!(self.head(bytes), Step::Whole(..))
    }

    /// Reads all requests.
    pub(crate) fn read_all(&self, mut bytes: &[u8]) -> (Vec<Seen>, End) {
        let mut requests = Vec::new();
        loop {
            if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                return (requests, End::Clean);
            }
            match self.read(bytes) {
                Step::Whole(request, used) => {
                    requests.push(request);
                    bytes = &bytes[used..];
                }
                Step::More => return (requests, End::More),
                Step::Broken => return (requests, End::Broken),
            }
        }
    }

    /// Returns the line at the beginning, and how long it is with its end.
    fn line<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], usize)> {
        let ends = |at: usize| match bytes[at] {
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => Some(2),
            b'\r' if self.has(Habit::BareCr) && at + 1 < bytes.len() => Some(1),
            b'\n' if self.has(Habit::BareLf) => Some(1),
            _ => None,
        };
        (0..bytes.len()).find_map(|at| ends(at).map(|length| (&bytes[..at], at + length)))
    }

    fn head(&self, bytes: &[u8]) -> Step<Head> {
        let mut used = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let Some((line, length)) = self.line(&bytes[used..]) else { return Step::More };
        used += length;
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
        let [method, target, _version] = words[..] else { return Step::Broken };
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            let Some((line, length)) = self.line(&bytes[used..]) else { return Step::More };
            used += length;
            if line.is_empty() {
                return Step::Whole(Head { method: method.to_vec(), target: target.to_vec(), fields }, used);
            }
            let folds = matches!(line[0], b' ' | b'\t');
            if folds && !self.has(Habit::Folds) && !self.has(Habit::TrimmedNames) {
                return Step::Broken;
            }
            self.field(line, &mut fields);
        }
    }

    fn field(&self, line: &[u8], fields: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        if matches!(line[0], b' ' | b'\t') && self.has(Habit::Folds) {
            if let Some((_, value)) = fields.last_mut() {
                value.extend_from_slice(line);
            }
            return;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
        let mut name = line[..colon].to_ascii_lowercase();
        if self.has(Habit::TrimmedNames) {
            name.retain(u8::is_ascii_graphic);
        }
        if self.has(Habit::Underscores) {
            name.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
        }
        fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }

    fn framing(&self, head: &Head) -> Option<Framing> {
        let values = |name: &[u8]| -> Vec<&[u8]> {
            head.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_slice()).collect()
        };
        let (lengths, encodings) = (values(b"content-length"), values(b"transfer-encoding"));
        if !encodings.is_empty() && (lengths.is_empty() || !self.has(Habit::LengthWins)) {
            let all = encodings.join(&b","[..]).to_ascii_lowercase();
            if self.has(Habit::LooseEncoding) && all.windows(7).any(|word| word == b"chunked") {
                return Some(Framing::Chunked);
            }
            let last = all.rsplit(|&byte| byte == b',').next()?.trim_ascii();
            return (last == b"chunked").then_some(Framing::Chunked);
        }
        let read: Option<Vec<usize>> = lengths.iter().map(|value| self.number(value, 10)).collect();
        match read?.as_slice() {
            [] => Some(Framing::Length(0)),
            lengths if self.has(Habit::LastLength) => lengths.last().copied().map(Framing::Length),
            [first, rest @ ..] => rest.iter().all(|it| it == first).then_some(Framing::Length(*first)),
        }
    }

    fn number(&self, text: &[u8], radix: u32) -> Option<usize> {
        let text = std::str::from_utf8(text).ok()?;
        if !self.has(Habit::LooseNumbers) {
            let digits = !text.is_empty() && text.chars().all(|it| it.is_digit(radix));
            return digits.then(|| usize::from_str_radix(text, radix).ok())?;
        }
        let text = text.trim().trim_start_matches('+');
        let text = if radix == 16 { text.trim_start_matches("0x") } else { text };
        let end = text.find(|it: char| !it.is_digit(radix)).unwrap_or(text.len());
        usize::from_str_radix(&text[..end], radix).ok()
    }

    fn chunks(&self, bytes: &[u8]) -> Step<Vec<u8>> {
        let (mut body, mut used) = (Vec::new(), 0);
        loop {
            let Some((line, length)) = self.line(&bytes[used..]) else { return Step::More };
            used += length;
            let size = line.split(|&byte| byte == b';').next().unwrap_or(line);
            let Some(size) = self.number(size, 16) else { return Step::Broken };
            if size == 0 {
                return self.trailers(&bytes[used..], body, used);
            }
            let Some(data) = bytes.get(used..used.saturating_add(size)) else { return Step::More };
            body.extend_from_slice(data);
            used += size;
            match self.line(&bytes[used..]) {
                Some(([], length)) => used += length,
                _ if bytes.len() < used + 2 => return Step::More,
                _ => return Step::Broken,
            }
        }
    }

    fn trailers(&self, bytes: &[u8], body: Vec<u8>, before: usize) -> Step<Vec<u8>> {
        let mut used = 0;
        loop {
            let Some((line, length)) = self.line(&bytes[used..]) else { return Step::More };
            used += length;
            if line.is_empty() {
                return Step::Whole(body, before + used);
            }
        }
    }
}

/// Returns the careless reader that sees other requests than the strict one in what was sent on, if there is one.
pub(crate) fn who_disagrees(bytes: &[u8]) -> Option<&'static str> {
    let (strict, end) = STRICT.read_all(bytes);
    if end == End::Broken {
        return Some(STRICT.name);
    }
    let disagrees = |reader: &&Reader| {
        let (seen, theirs) = reader.read_all(bytes);
        // Who refuses something sees nothing else in it.
        let same = if theirs == End::Broken { strict.starts_with(&seen) } else { strict == seen };
        !same || (theirs == End::More && end == End::Clean)
    };
    CARELESS.iter().find(disagrees).map(|reader| reader.name)
}

#[test]
fn readers_disagree_about_what_is_smuggled() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    let inner = "GET /in HTTP/1.1\r\nhost: a\r\n\r\n";
    for (name, request) in [
        (
            "the length wins",
            format!("{head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        ),
        ("a bare LF ends lines", format!("{head}a: b\ncontent-length: {}\r\n\r\n{inner}", inner.len())),
        ("names are trimmed", format!("{head}content-length : {}\r\n\r\n{inner}", inner.len())),
        ("_ is -", format!("{head}content_length: {}\r\n\r\n{inner}", inner.len())),
        ("strict", format!("{head}content-length: 1\r\n 0\r\n\r\n0123456789")),
    ] {
        assert_eq!(who_disagrees(request.as_bytes()), Some(name), "{request}");
    }
    assert_eq!(who_disagrees(inner.repeat(3).as_bytes()), None);
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n{inner}");
    assert_eq!(who_disagrees(chunked.as_bytes()), None);
    assert_eq!(STRICT.read_all(chunked.as_bytes()).0.len(), 2);
}
