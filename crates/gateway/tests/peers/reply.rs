//! What a client gets, read strictly.

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether all of its body came, by its framing.
    pub(crate) whole: bool,
    pub(crate) trailers: usize,
}

impl Reply {
    /// Tells whether it is what the backend says to a request for this target.
    pub(crate) fn echoes(&self, target: &str) -> bool {
        self.status == 200 && self.body.starts_with(format!("echo GET {target} ").as_bytes())
    }

    /// Tells whether the backend made it, as the answer to what it read.
    pub(crate) fn is_echo(&self) -> bool {
        self.status == 200 && self.body.starts_with(b"echo ")
    }

    /// Tells whether a proxy answered because of an instance.
    pub(crate) fn blames_backend(&self) -> bool {
        (502..=504).contains(&self.status)
    }
}

/// All that a client got.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    pub(crate) last: Vec<Reply>,
    pub(crate) interim: Vec<u16>,
    /// Bytes that are no answer.
    pub(crate) garbage: bool,
}

/// Reads what came. `heads` says of which answers, by their place, nobody expects a body; `ended` whether nothing more comes.
pub(crate) fn read(mut bytes: &[u8], heads: impl Fn(usize) -> bool, ended: bool) -> Replies {
    let mut replies = Replies::default();
    while !bytes.is_empty() {
        let Some((head, rest)) = split_head(bytes) else {
            replies.garbage = ended || !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]);
            return replies;
        };
        let Some((status, fields)) = parse_head(head) else {
            replies.garbage = true;
            return replies;
        };
        if (100..200).contains(&status) && status != 101 {
            replies.interim.push(status);
            bytes = rest;
            continue;
        }
        let bodiless = heads(replies.last.len()) || status == 204 || status == 304;
        let (reply, used) = read_body(status, &fields, rest, bodiless, ended);
        let whole = reply.whole;
        replies.last.push(reply);
        if !whole {
            return replies;
        }
        bytes = &rest[used..];
    }
    replies
}

type Fields = Vec<(String, String)>;

fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((&bytes[..end], &bytes[end + 4..]))
}

fn parse_head(head: &[u8]) -> Option<(u16, Fields)> {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    words.next()?.strip_prefix("HTTP/1.")?;
    let status = words.next()?.parse().ok()?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Some((status, lines.filter_map(field).collect()))
}

fn read_body(status: u16, fields: &Fields, rest: &[u8], bodiless: bool, ended: bool) -> (Reply, usize) {
    let value = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let done =
        |body: &[u8], whole, trailers, used| (Reply { status, body: body.to_vec(), whole, trailers }, used);
    if bodiless {
        return done(b"", true, 0, 0);
    }
    if value("transfer-encoding").is_some() {
        return match read_chunks(rest) {
            Ok((body, trailers, used)) => done(&body, true, trailers, used),
            Err(body) => done(&body, false, 0, rest.len()),
        };
    }
    match value("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) if rest.len() >= length => done(&rest[..length], true, 0, length),
        Some(_) => done(rest, false, 0, rest.len()),
        None => done(rest, ended, 0, rest.len()),
    }
}

/// Returns the data, how many trailers there are, and how long all of it is; what there is of the data when it is not whole.
fn read_chunks(bytes: &[u8]) -> Result<(Vec<u8>, usize, usize), Vec<u8>> {
    let (mut body, mut used) = (Vec::new(), 0);
    let line = |from: usize| {
        let rest = bytes.get(from..)?;
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        Some(&rest[..end])
    };
    loop {
        let size = line(used).and_then(|size| {
            used += size.len() + 2;
            usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
        });
        let Some(size) = size else { return Err(body) };
        if size == 0 {
            break;
        }
        let Some(data) = bytes.get(used..used + size) else { return Err(body) };
        body.extend_from_slice(data);
        used += size;
        if line(used) != Some(b"") {
            return Err(body);
        }
        used += 2;
    }
    for trailers in 0.. {
        match line(used) {
            Some(b"") => return Ok((body, trailers, used + 2)),
            Some(trailer) => used += trailer.len() + 2,
            None => return Err(body),
        }
    }
    Err(body)
}
