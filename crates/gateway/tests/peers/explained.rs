//! Why the gateway does otherwise than a peer. `docs/design/gateway.md` has the same reasons for people.

use crate::case::shown;

/// A difference that is meant.
struct Reason {
    families: &'static [&'static str],
    /// Which cases of the families, by what was put in.
    of: fn(&str) -> bool,
    way: Way,
    why: &'static str,
}

/// What the gateway does, where another does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Refuses,
    Passes,
    /// Both pass it, as something else.
    Otherwise,
}

use Way::{Otherwise, Passes, Refuses};

/// Returns why a case goes another way.
pub(crate) fn reason(family: &str, name: &str, way: Way) -> Option<&'static str> {
    let holds =
        |reason: &&Reason| reason.way == way && reason.families.contains(&family) && (reason.of)(name);
    REASONS.iter().find(holds).map(|reason| reason.why)
}

const REASONS: &[Reason] = &[
    Reason {
        families: &[
            "field value byte",
            "answer value byte",
            "reason byte",
            "status byte",
            "chunk extension byte",
            "version byte",
        ],
        of: |name| byte(name).is_some_and(|it| it.is_ascii_control()),
        way: Refuses,
        why: "control characters: RFC 9110 5.5 allows none, and a log or a program behind takes them for an end of line",
    },
    Reason {
        families: &[
            "field",
            "first field",
            "trailer",
            "answer field",
            "chunk extension",
            "chunk end",
            "line end",
            "answer line end",
        ],
        of: |name| ["\\x7f", "\\x00", "\\0", "\\u{7f}", "\\u{b}"].iter().any(|it| name.contains(it)),
        way: Refuses,
        why: "control characters: RFC 9110 5.5 allows none, and a log or a program behind takes them for an end of line",
    },
    Reason {
        families: &["field name byte", "field first byte", "answer name byte", "answer first byte"],
        of: |name| byte(name).is_some_and(|it| !is_token(it)),
        way: Refuses,
        why: "a name that is none: nginx drops the field, HAProxy takes a line with a space before it for part of the one before; whoever reads it otherwise reads another request",
    },
    Reason {
        families: &[
            "field",
            "first field",
            "answer field",
            "encoding name",
            "length name",
            "length and encoding",
            "trailer",
            "answer trailer",
            "answer length name",
        ],
        of: is_odd_line,
        way: Refuses,
        why: "a name that is none, a folded line, a line without a colon, a bare CR: what one program drops or joins, another reads",
    },
    Reason {
        families: &["host byte"],
        of: |name| byte(name).is_some_and(|it| !it.is_ascii_alphanumeric() && !b"-_.".contains(&it)),
        way: Refuses,
        why: "no host name: rules are by host, and another host could be read behind the mark",
    },
    Reason {
        families: &["host"],
        of: |name| {
            ![
                "`shop.test:80`",
                "`shop.test:0`",
                "`SHOP.TEST`",
                "`shop.test.`",
                "`shop_test`",
                "`[::1]`",
                "`127.0.0.1`",
            ]
            .contains(&name)
        },
        way: Refuses,
        why: "no host name: rules are by host, and another host could be read behind the mark",
    },
    Reason {
        families: &["host field"],
        of: |name| {
            let hosts = name.matches("ost").count();
            (hosts != 1 && !name.contains("x-forwarded"))
                || name.contains(" :80")
                || name.contains("\\n shop")
        },
        way: Refuses,
        why: "no host, two hosts or a folded one: Envoy takes the host of an absolute target or joins two",
    },
    Reason {
        families: &["target byte", "query byte"],
        of: |name| byte(name).is_some_and(|it| !it.is_ascii_graphic() || b"#\\%".contains(&it)),
        way: Refuses,
        why: "no part of a target: bytes that are no UTF-8, control characters, a fragment, `\\` and a `%` that encodes nothing",
    },
    Reason {
        families: &["target", "encoded byte"],
        of: |name| {
            !["/", "/case?", "/case;a=b", "//case", "/./case", "/a/../case", "http://shop.test/case"]
                .iter()
                .any(|it| name.ends_with(&format!(" {it}")))
        },
        way: Refuses,
        why: "it climbs out, could be decoded in two ways, has a user, a fragment or no host: see the table of forms",
    },
    Reason {
        families: &["line end", "separator", "answer line end", "chunk end", "answer chunk"],
        of: |name| !name.starts_with("``"),
        way: Refuses,
        why: "only CR LF ends a line, and one space parts words: a bare LF or CR is how a line is hidden from one of two readers",
    },
    Reason {
        families: &["version", "version byte", "status line"],
        of: |name| !["HTTP/1.0", "HTTP/1.1"].contains(&name),
        way: Refuses,
        why: "only HTTP/1.0 and HTTP/1.1: nobody sends others, and programs disagree about what they are",
    },
    Reason {
        families: &["status"],
        of: |name| name.len() != 3 || !name.parse().is_ok_and(|status: u16| (100..1_000).contains(&status)),
        way: Refuses,
        why: "no status of three digits: clients would read another one than caches",
    },
    Reason {
        families: &["length", "two lengths", "answer length", "answer lengths", "answer length name"],
        of: |name| !name.ends_with("`5`") || name.contains("` and `") || name.contains("`, `"),
        way: Refuses,
        why: "a length that is not plain digits, or is said twice in a request: nginx passes unequal ones, HAProxy equal ones",
    },
    Reason {
        families: &["two lengths"],
        of: |name| name.starts_with("`5`, `"),
        way: Refuses,
        why: "a length that is not plain digits, or is said twice in a request: nginx passes unequal ones, HAProxy equal ones",
    },
    Reason {
        families: &["length and encoding", "answer length and encoding"],
        of: |_| true,
        way: Refuses,
        why: "a length beside an encoding is refused, whichever is said first: how requests and answers are smuggled",
    },
    Reason {
        families: &["encoding", "two encodings", "answer encoding", "answer encodings"],
        of: |name| !["POST `chunked`", "`chunked`"].contains(&name),
        way: Refuses,
        why: "an encoding other than `chunked`, or nothing where one is said",
    },
    Reason {
        families: &["encoding of HTTP/1.0"],
        of: |_| true,
        way: Refuses,
        why: "HTTP/1.0 has no encodings: RFC 9112 6.1 says that such a length is faulty",
    },
    Reason {
        families: &["expect"],
        of: |name| {
            !["`100-continue`", "`100-Continue`", "`100-CONTINUE`", "` 100-continue `"]
                .iter()
                .any(|it| name.starts_with(it))
        },
        way: Refuses,
        why: "an expectation that is not known: 417, as RFC 9110 10.1.1 has it; peers pass over it",
    },
    Reason {
        families: &["long extension", "chunk extension", "chunk size"],
        of: |name| {
            name.contains("\\r\\n")
                || name.parse().is_ok_and(|length: usize| length >= 1_024)
                || name == "`5 5`"
        },
        way: Refuses,
        why: "an extension of a chunk means nothing here: it begins with `;`, ends with its line, and has at most 1 KiB with the size",
    },
    Reason {
        families: &[
            "long field",
            "long name",
            "long target",
            "long answer field",
            "many fields",
            "many answer fields",
        ],
        of: |name| {
            name.split(' ').next().is_some_and(|it| {
                it.parse().is_ok_and(|it: u32| it > 256 || (name.ends_with("KiB") && it > 31))
            })
        },
        way: Refuses,
        why: "a head has at most 32 KiB and 256 fields; Envoy takes 60 KiB and 100, HAProxy 16 KiB and 101, nginx 8 KiB a line",
    },
    Reason {
        families: &["trailer", "answer trailer"],
        of: |name| name.len() >= 40,
        way: Refuses,
        why: "trailers have at most 8 KiB and 32 fields",
    },
    Reason {
        families: &["interim"],
        of: |name| ["9 ", "100 of", "101 "].iter().any(|it| name.starts_with(it)) || name.contains("of 101"),
        way: Refuses,
        why: "more than 8 heads before the answer, or a switch that nobody asked for",
    },
    Reason {
        families: &["until close"],
        of: |name| name.contains("reset") || name == "nothing",
        way: Refuses,
        why: "what a reset ends is not whole, and nothing is no answer: the client is told",
    },
    Reason {
        families: &["no body"],
        of: |name| name.starts_with("205 Reset, no length") || name.starts_with("205 Reset, close"),
        way: Refuses,
        why: "205 without a length ends with its connection (RFC 9112 6.3), which does not end here",
    },
    Reason {
        families: &["short answer", "old client"],
        of: |name| name.contains("cut"),
        way: Refuses,
        why: "half a head is no answer, nginx takes it for one of HTTP/0.9; half a body ends with a reset where an end would look whole",
    },
    Reason {
        families: &["method"],
        of: |name| name == "`PRI`",
        way: Refuses,
        why: "`PRI` is kept for HTTP/2 (RFC 9113 3.4): an instance could take it for its beginning",
    },
    Reason {
        families: &["first field"],
        of: |name| name.ends_with("\\r\\n\\r\\n"),
        way: Refuses,
        why: "a head that ends before its host",
    },
    Reason {
        families: &["method", "method byte", "separator"],
        of: |_| true,
        way: Passes,
        why: "any token is a method: nginx knows capitals alone and no TRACE, Envoy a list",
    },
    Reason {
        families: &[
            "answer encoding",
            "answer encodings",
            "answer length",
            "answer lengths",
            "answer length and encoding",
        ],
        of: |_| true,
        way: Passes,
        why: "what is said twice alike, and `identity`, passes in one form: common with frameworks behind frameworks",
    },
    Reason {
        families: &["answer line end", "line end"],
        of: |name| name.ends_with("before the line"),
        way: Passes,
        why: "blank lines before a head are passed over, as RFC 9112 2.2 asks",
    },
    Reason {
        families: &["early"],
        of: |_| true,
        way: Passes,
        why: "an answer that came before the connection broke, or instead of `100`, is the answer; others lose it",
    },
    Reason {
        families: &["half-close"],
        of: |_| true,
        way: Passes,
        why: "a client that ends its sending with its request gets its answer",
    },
    Reason {
        families: &["host field", "target"],
        of: |name| name.contains("http://") || name.contains("\\t"),
        way: Passes,
        why: "the host of an absolute target wins (RFC 9112 3.2.2), HAProxy refuses another one; tabs around a value, which nginx keeps, are no part of it",
    },
    Reason {
        families: &["host"],
        of: |name| ["``", "` `"].contains(&name),
        way: Passes,
        why: "an empty host is what a client sends whose target has none (RFC 9110 7.2)",
    },
    Reason {
        families: &["interim", "surplus"],
        of: |name| !name.contains("of 101"),
        way: Passes,
        why: "heads before the answer pass and have no body, whatever they say; nginx 1.22 knows none, Envoy refuses a length in one",
    },
    Reason {
        families: &[
            "long field",
            "long name",
            "long target",
            "long answer field",
            "many fields",
            "many answer fields",
        ],
        of: |_| true,
        way: Passes,
        why: "a head has at most 32 KiB and 256 fields; Envoy takes 60 KiB and 100, HAProxy 16 KiB and 101, nginx 8 KiB a line",
    },
    Reason {
        families: &["upgrade"],
        of: |_| true,
        way: Passes,
        why: "whether there is a WebSocket is the instance's word, also for one without a key; Envoy takes its answer for a failure",
    },
    Reason {
        families: &["encoding", "length", "length and encoding", "two lengths"],
        of: |name| name.contains("\\t"),
        way: Passes,
        why: "tabs around a value are no part of it (RFC 9110 5.6.3)",
    },
    Reason {
        families: &["connection"],
        of: |name| name.contains("`host`") || name.contains("x-forwarded-for"),
        way: Passes,
        why: "what must go on is not taken out because a client names it; Envoy refuses such a request",
    },
    Reason {
        families: &["body of a method"],
        of: |name| name == "TRACE",
        way: Passes,
        why: "any token is a method: nginx knows capitals alone and no TRACE, Envoy a list",
    },
    Reason {
        families: &["no body"],
        of: |name| name.starts_with("204"),
        way: Passes,
        why: "204 has no body whatever it says, and its connection is not used again; Envoy refuses one with a length",
    },
    Reason {
        families: &["between requests", "length name", "line end", "two lengths", "chunk end", "pipeline"],
        of: |_| true,
        way: Otherwise,
        why: "what stands behind a request is the next one, of whatever method: a request that begins with the rest of a body is refused by who knows no such method",
    },
];

/// The byte that a case is named by.
fn byte(name: &str) -> Option<u8> {
    (0..=255).find(|byte| shown(&[*byte]) == name)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Tells whether a line, as it is named, has a name that is none, or no end of its own.
fn is_odd_line(name: &str) -> bool {
    let line = name.trim_start_matches("0.CL ");
    let line = line.split_once(": `").map_or(line, |(_, line)| line).trim_matches('`');
    let begins = line.split(':').next().unwrap_or(line);
    begins.is_empty()
        || !line.contains(':') && !begins.bytes().all(is_token)
        || !begins.bytes().all(is_token)
        || ["\\r", "\\n", "\\u", "\\x", "\\t"].iter().any(|it| line.trim_end_matches("\\r\\n").contains(it))
        || line == "x-a\\r\\n"
}
