//! Where a body ends: lengths, encodings, both, and chunks.

use super::{HOST, INNER, request};
use crate::case::{Case, shown};

pub(super) fn all() -> Vec<Case> {
    [
        lengths(),
        two_lengths(),
        encodings(),
        both(),
        chunk_sizes(),
        chunk_ends(),
        extensions(),
        last_chunks(),
        trailers(),
    ]
    .concat()
}

/// Values that programs take for 5.
const FIVES: [&str; 38] = [
    "5",
    "05",
    "0000000000000000000000000005",
    "+5",
    "-5",
    "5 ",
    "\t5",
    " 5\t",
    "5,5",
    "5, 5",
    "5,6",
    "5,",
    ",5",
    "5;",
    "5;a",
    "0x5",
    "0X5",
    "5.0",
    "5e0",
    "5_",
    "1_0",
    "",
    " ",
    "abc",
    "5abc",
    "5 5",
    "\"5\"",
    "'5'",
    "\u{665}",
    "\x0b5",
    "5\x0b",
    "5\0",
    "NaN",
    "5\x0c",
    "9223372036854775808",
    "18446744073709551616",
    "18446744073709551621",
    "99999999999999999999999999",
];

/// Names that programs take for a given one.
fn names(name: &str) -> Vec<String> {
    let [first, second] = [&name[..7], &name[7..]];
    vec![
        name.to_uppercase(),
        format!("{name} "),
        format!("{name}\t"),
        format!(" {name}"),
        format!("\t{name}"),
        name.replace('-', "_"),
        format!("{name}\x0b"),
        format!("\x0b{name}"),
        format!("{name}\0"),
        format!("\0{name}"),
        format!("{first}\0{second}"),
        format!("{name}\r"),
        format!("x: y\r{name}"),
        format!("x: y\n{name}"),
        format!("x-{name}"),
        format!("{name}\u{a0}"),
        format!("\u{feff}{name}"),
        name.replace('-', "--"),
        name.replace('-', "."),
        name.replace('-', " "),
        name.replace('n', "\u{14b}"),
        format!("{name}:"),
        format!("\"{name}\""),
    ]
}

fn lengths() -> Vec<Case> {
    let values = FIVES.iter().flat_map(|value| {
        ["POST", "GET", "DELETE"].map(|method| {
            let lines = format!("content-length: {value}\r\n");
            Case::request(
                "length",
                format!("{method} `{}`", value.escape_debug()),
                request(method, lines, "hello"),
            )
        })
    });
    let named = names("content-length").into_iter().flat_map(|name| {
        [("", "5", "hello"), ("0.CL ", &INNER.len().to_string(), INNER)].map(|(kind, length, body)| {
            let lines = format!("{name}: {length}\r\n");
            Case::request(
                "length name",
                format!("{kind}`{}`", name.escape_debug()),
                request("POST", lines, body),
            )
        })
    });
    let folded = ["\r\n 5", " \r\n\t5", "\r\n5", "1\r\n 0", "\n 5", "\r 5"].map(|value| {
        let lines = format!("content-length:{value}\r\n");
        Case::request("length", format!("folded `{}`", value.escape_debug()), request("POST", lines, "hello"))
    });
    let odd = [
        ("POST", "", "without any"),
        ("GET", "content-length: 0\r\n", "GET with 0"),
        ("POST", "content-length: 0\r\n", "POST with 0"),
    ];
    let odd = odd.map(|(method, lines, name)| Case::request("length", name, request(method, lines, "")));
    let inner = ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "POST"].map(|method| {
        let lines = format!("content-length: {}\r\n", INNER.len());
        let case = Case::request("body of a method", method, request(method, lines, INNER));
        Case { head: method == "HEAD", ..case }
    });
    values.chain(named).chain(folded).chain(odd).chain(inner).collect()
}

fn two_lengths() -> Vec<Case> {
    let seconds = ["5", "05", "+5", "6", "0", "", "5 ", "abc", "5, 5"];
    let pairs = seconds.iter().flat_map(|second| [("5", *second), (*second, "5")]);
    pairs
        .flat_map(|(one, two)| {
            ["content-length", "Content-Length", "content_length", "content-length "].map(|name| {
                let lines = format!("content-length: {one}\r\n{name}: {two}\r\n");
                Case::request(
                    "two lengths",
                    format!("`{one}`, `{name}: {two}`"),
                    request("POST", lines, "hello"),
                )
            })
        })
        .collect()
}

/// Values that programs take for `chunked`.
const CHUNKED: [&str; 44] = [
    "chunked",
    "Chunked",
    "CHUNKED",
    " chunked",
    "chunked ",
    "\tchunked",
    "chunked\t",
    "\x0bchunked",
    "chunked\x0b",
    "\x0cchunked",
    "xchunked",
    "chunkedx",
    "chunked,",
    ",chunked",
    ", chunked",
    "chunked, ",
    "chunked;q=1",
    "chunked;",
    "chunked; a=b",
    "identity",
    "identity, chunked",
    "chunked, identity",
    "identity,chunked,identity",
    "gzip",
    "gzip, chunked",
    "chunked, gzip",
    "deflate, chunked",
    "chunked, chunked",
    "chunked,chunked",
    "trailers, chunked",
    "\"chunked\"",
    "'chunked'",
    "chunk",
    "chunkedchunked",
    "",
    " ",
    "\0chunked",
    "chunked\0",
    "\u{a0}chunked",
    "chun\u{17f}ked",
    "chun ked",
    "chunked chunked",
    "\r\n chunked",
    "chunked\r\n ,identity",
];

fn encodings() -> Vec<Case> {
    let plain = "5\r\nhello\r\n0\r\n\r\n";
    let values = CHUNKED.iter().flat_map(|value| {
        ["POST", "GET"].map(|method| {
            let lines = format!("transfer-encoding: {value}\r\n");
            Case::request(
                "encoding",
                format!("{method} `{}`", value.escape_debug()),
                request(method, lines, plain),
            )
        })
    });
    let named = names("transfer-encoding").into_iter().map(|name| {
        let lines = format!("{name}: chunked\r\n");
        Case::request("encoding name", format!("`{}`", name.escape_debug()), request("POST", lines, plain))
    });
    let twice = ["chunked", "identity", "gzip", "", "Chunked", "x"].iter().flat_map(|value| {
        [
            format!("transfer-encoding: chunked\r\ntransfer-encoding: {value}\r\n"),
            format!("transfer-encoding: {value}\r\ntransfer-encoding: chunked\r\n"),
        ]
        .map(|lines| {
            Case::request("two encodings", lines.escape_debug().to_string(), request("POST", lines, plain))
        })
    });
    let old = CHUNKED.iter().map(|value| {
        let sent = format!("POST /case HTTP/1.0\r\n{HOST}transfer-encoding: {value}\r\n\r\n{plain}");
        Case::request("encoding of HTTP/1.0", format!("`{}`", value.escape_debug()), sent)
    });
    let te = ["trailers", "chunked", "gzip;q=0.5, trailers", ""].map(|value| {
        Case::request("te", value, request("GET", format!("te: {value}\r\nconnection: te\r\n"), ""))
    });
    values.chain(named).chain(twice).chain(old).chain(te).collect()
}

/// A length and an encoding, in both orders, where each would end the body at another place.
fn both() -> Vec<Case> {
    let smuggled = format!("0\r\n\r\n{INNER}");
    let short = format!("{:x}\r\n{INNER}\r\n0\r\n\r\n", INNER.len());
    // CL.TE: the length takes all of it. TE.CL: the length ends within the first chunk's size.
    let bodies = [
        ("CL.TE", smuggled.len(), smuggled.as_str()),
        ("TE.CL", 4, short.as_str()),
        ("TE.0", 0, short.as_str()),
    ];
    let mut encodings: Vec<(String, String)> = CHUNKED
        .iter()
        .map(|value| (value.escape_debug().to_string(), format!("transfer-encoding: {value}\r\n")))
        .collect();
    encodings.extend(
        names("transfer-encoding")
            .into_iter()
            .map(|name| (name.escape_debug().to_string(), format!("{name}: chunked\r\n"))),
    );
    let mut cases = Vec::new();
    for (shown, encoding) in &encodings {
        for (kind, length, body) in bodies {
            let length = format!("content-length: {length}\r\n");
            for lines in [format!("{length}{encoding}"), format!("{encoding}{length}")] {
                let order = if lines.starts_with("content") { "length first" } else { "encoding first" };
                let name = format!("{kind}, {order}: `{shown}`");
                cases.push(Case::request("length and encoding", name, request("POST", &lines, body)));
            }
        }
    }
    cases
}

fn chunked(family: &'static str, name: impl Into<String>, body: impl AsRef<[u8]>) -> Case {
    Case::request(family, name, request("POST", "transfer-encoding: chunked\r\n", body))
}

fn chunk_sizes() -> Vec<Case> {
    let sizes = [
        "5",
        "05",
        "0000000005",
        "00000000000000000000005",
        "5 ",
        "5\t",
        " 5",
        "\t5",
        "+5",
        "-5",
        "0x5",
        "5h",
        "5x",
        "5,",
        "5.0",
        "",
        "g",
        "5 5",
        "ffffffffffffffff",
        "10000000000000005",
        "fffffffffffffffb",
        "8000000000000005",
        "\"5\"",
        "5\0",
        "\x0b5",
        "5\x0b",
        "\u{665}",
        "5_",
        "A",
        "a",
    ];
    let odd = sizes.iter().map(|size| {
        chunked("chunk size", format!("`{}`", size.escape_debug()), format!("{size}\r\nhello\r\n0\r\n\r\n"))
    });
    let bytes = (0..=255u8).map(|byte| {
        chunked("chunk size byte", shown(&[byte]), [b"5", &[byte][..], b"\r\nhello\r\n0\r\n\r\n"].concat())
    });
    odd.chain(bytes).collect()
}

const ENDS: [&str; 12] =
    ["\n", "\r", "", "\r\r\n", "\n\r\n", " \r\n", "\r\n\r\n", "X\r\n", "\r\nX", "\n\n", "\0\r\n", "XX"];

fn chunk_ends() -> Vec<Case> {
    ENDS.iter()
        .flat_map(|end| {
            [
                ("of the size", format!("5{end}hello\r\n0\r\n\r\n")),
                ("of the data", format!("5\r\nhello{end}0\r\n\r\n")),
                ("of the last size", format!("5\r\nhello\r\n0{end}\r\n")),
                ("of the body", format!("5\r\nhello\r\n0\r\n{end}")),
                ("of an extension", format!("5;a=b{end}hello\r\n0\r\n\r\n")),
                ("of the last extension", format!("5\r\nhello\r\n0;a=b{end}\r\n")),
                ("of a trailer", format!("5\r\nhello\r\n0\r\nx-a: b{end}\r\n")),
            ]
            .map(|(place, body)| chunked("chunk end", format!("`{}` {place}", end.escape_debug()), body))
        })
        .collect()
}

fn extensions() -> Vec<Case> {
    let odd = [
        ";",
        ";a",
        ";a=b",
        "; a = b",
        " ;a=b",
        ";a=\"b\"",
        ";a=\"b;c\"",
        ";a=\"\\\"\"",
        ";a=\"b",
        ";a=\"\r\n\"",
        ";a=b;c=d",
        ";;",
        ";=b",
        ";a=",
        ";\n",
        ";a\nb",
        ";\r",
        ";a\rb",
        ";\0",
        ";a=\x7f",
        ";a=\u{fc}",
        ";a b",
        ";a=(b)",
        ";\tx",
        ";5\r\nhello\r\n0",
    ];
    let odd = odd.map(|it| {
        chunked("chunk extension", format!("`{}`", it.escape_debug()), format!("5{it}\r\nhello\r\n0\r\n\r\n"))
    });
    let bytes = (0..=255u8).map(|byte| {
        chunked(
            "chunk extension byte",
            shown(&[byte]),
            [b"5;a", &[byte][..], b"b\r\nhello\r\n0\r\n\r\n"].concat(),
        )
    });
    let long = [64, 255, 256, 1_024, 4_096, 16_384, 65_536].map(|size| {
        chunked("long extension", size.to_string(), format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(size)))
    });
    let many = [16, 1_000, 20_000].map(|count| {
        chunked("small chunks", count.to_string(), format!("{}0\r\n\r\n", "1;a=b\r\nx\r\n".repeat(count)))
    });
    odd.into_iter().chain(bytes).chain(long).chain(many).collect()
}

fn last_chunks() -> Vec<Case> {
    let lasts = [
        "0",
        "00",
        "0000000000000000000000",
        "0 ",
        " 0",
        "\t0",
        "-0",
        "+0",
        "0x0",
        "0;",
        "0;a=b",
        "0h",
        "",
        "\0",
        "0,",
        "0.0",
    ];
    lasts
        .iter()
        .map(|last| {
            chunked(
                "last chunk",
                format!("`{}`", last.escape_debug()),
                format!("5\r\nhello\r\n{last}\r\n\r\n"),
            )
        })
        .collect()
}

fn trailers() -> Vec<Case> {
    let many = "x-a: b\r\n".repeat(300);
    let long = format!("x-a: {}\r\n", "b".repeat(40_000));
    let lines = [
        "x-a: b\r\n",
        "content-length: 5\r\n",
        "transfer-encoding: chunked\r\n",
        "host: other.test\r\n",
        "x-a : b\r\n",
        " x-a: b\r\n",
        "x-a: b\r\n c\r\n",
        "x-a\r\n",
        ": b\r\n",
        "x-a: b\nx-c: d\r\n",
        "x-a: b\rx-c: d\r\n",
        "x-a: \0\r\n",
        "x a: b\r\n",
        "GET /smuggled HTTP/1.1\r\n",
        "connection: close\r\n",
        "content-length : 5\r\n",
        "x_a: b\r\n",
        "authorization: x\r\n",
        &many,
        &long,
    ];
    lines
        .iter()
        .map(|lines| {
            let name: String = lines.escape_debug().take(60).collect();
            chunked("trailer", name, format!("5\r\nhello\r\n0\r\n{lines}\r\n"))
        })
        .collect()
}
