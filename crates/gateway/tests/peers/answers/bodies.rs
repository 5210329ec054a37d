//! Where answers end: lengths, encodings, chunks, none of them, too much and too little.

use super::POISON;
use crate::case::{Case, End, When};

pub(super) fn all() -> Vec<Case> {
    [
        lengths(),
        encodings(),
        both(),
        chunks(),
        bodiless(),
        until_close(),
        surplus(),
        short(),
        early(),
        old_clients(),
    ]
    .concat()
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const PLAIN: &str = "5\r\nhello\r\n0\r\n\r\n";

fn lengths() -> Vec<Case> {
    let values = [
        "5",
        "05",
        "000000000000000000005",
        "+5",
        "-5",
        "5 ",
        "\t5",
        "5,5",
        "5, 5",
        "5, 5, 5",
        "5,6",
        "5,",
        ",5",
        "5;",
        "0x5",
        "5.0",
        "5e0",
        "",
        "abc",
        "5abc",
        "5 5",
        "\"5\"",
        "\u{665}",
        "5\0",
        "\x0b5",
        "18446744073709551621",
        "99999999999999999999",
    ];
    let one = values.iter().flat_map(|value| {
        let said = format!("{OK}content-length: {value}\r\n\r\nhello");
        let name = format!("`{}`", value.escape_debug());
        [
            Case::answer("answer length", &name, said.clone()),
            Case::answer("answer length", format!("{name} and the end"), said).closing(),
        ]
    });
    let two = ["5", "05", "6", "4", "", "abc", "+5"].iter().flat_map(|second| {
        [("5", *second), (*second, "5")].map(|(one, two)| {
            Case::answer(
                "answer lengths",
                format!("`{one}` and `{two}`"),
                format!("{OK}content-length: {one}\r\nContent-Length: {two}\r\n\r\nhello"),
            )
            .closing()
        })
    });
    let names = [
        "content-length ",
        " content-length",
        "content_length",
        "content-length\t",
        "x: y\rcontent-length",
        "x: y\ncontent-length",
    ];
    let named = names.iter().map(|name| {
        Case::answer(
            "answer length name",
            format!("`{}`", name.escape_debug()),
            format!("{OK}{name}: 5\r\n\r\nhello"),
        )
        .closing()
    });
    one.chain(two).chain(named).collect()
}

const ENCODINGS: [&str; 20] = [
    "chunked",
    "Chunked",
    "chunked ",
    "\tchunked",
    "chunked, chunked",
    "chunked,",
    ",chunked",
    "identity, chunked",
    "chunked, identity",
    "gzip, chunked",
    "chunked, gzip",
    "xchunked",
    "chunkedx",
    "chunked;a=b",
    "\"chunked\"",
    "",
    "\x0bchunked",
    "gzip",
    "identity",
    "chunk",
];

fn encodings() -> Vec<Case> {
    let one = ENCODINGS.iter().map(|value| {
        Case::answer(
            "answer encoding",
            format!("`{}`", value.escape_debug()),
            format!("{OK}transfer-encoding: {value}\r\n\r\n{PLAIN}"),
        )
        .closing()
    });
    let two = ["chunked", "identity", "gzip", "", "Chunked"].iter().flat_map(|second| {
        [("chunked", *second), (*second, "chunked")].map(|(one, two)| {
            Case::answer(
                "answer encodings",
                format!("`{one}` and `{two}`"),
                format!("{OK}transfer-encoding: {one}\r\ntransfer-encoding: {two}\r\n\r\n{PLAIN}"),
            )
            .closing()
        })
    });
    let old = Case::answer(
        "answer encoding",
        "chunked of HTTP/1.0",
        format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{PLAIN}"),
    )
    .closing();
    one.chain(two).chain([old]).collect()
}

fn both() -> Vec<Case> {
    ENCODINGS
        .iter()
        .flat_map(|value| {
            [5, 15, 100, 0].map(|length| {
                let said =
                    format!("{OK}content-length: {length}\r\ntransfer-encoding: {value}\r\n\r\n{PLAIN}");
                Case::answer(
                    "answer length and encoding",
                    format!("{length}, `{}`", value.escape_debug()),
                    said,
                )
                .closing()
            })
        })
        .collect()
}

fn chunked(family: &'static str, name: impl Into<String>, body: &str) -> Case {
    Case::answer(family, name, format!("{OK}transfer-encoding: chunked\r\n\r\n{body}")).closing()
}

fn chunks() -> Vec<Case> {
    let sizes = [
        "05",
        "000000000000000000000005",
        "5 ",
        " 5",
        "\t5",
        "+5",
        "-5",
        "0x5",
        "5h",
        "5;",
        "5;a=b",
        "5;a=\"b\"",
        "5; a",
        "",
        "ffffffffffffffff",
        "10000000000000005",
        "5\0",
        "A",
    ];
    let sizes = sizes.iter().map(|size| {
        chunked(
            "answer chunk",
            format!("size `{}`", size.escape_debug()),
            &format!("{size}\r\nhello\r\n0\r\n\r\n"),
        )
    });
    let ends = ["\n", "\r", "", "\r\r\n", "\n\r\n", " \r\n", "X\r\n", "XX"].iter().flat_map(|end| {
        [
            ("of the size", format!("5{end}hello\r\n0\r\n\r\n")),
            ("of the data", format!("5\r\nhello{end}0\r\n\r\n")),
            ("of the last size", format!("5\r\nhello\r\n0{end}\r\n")),
            ("of the body", format!("5\r\nhello\r\n0\r\n{end}")),
        ]
        .map(|(place, body)| chunked("answer chunk", format!("end `{}` {place}", end.escape_debug()), &body))
    });
    let many = "x-a: b\r\n".repeat(300);
    let trailers = [
        "x-a: b\r\n",
        "content-length: 5\r\n",
        "x-a : b\r\n",
        "x-a\r\n",
        " x\r\n",
        "x-a: b\r\n c\r\n",
        "transfer-encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\n",
        &many,
    ];
    let trailers = trailers.iter().map(|lines| {
        let name: String = lines.escape_debug().take(40).collect();
        chunked("answer trailer", name, &format!("5\r\nhello\r\n0\r\n{lines}\r\n"))
    });
    let many = [16, 1_000, 20_000].map(|count| {
        chunked(
            "answer chunk",
            format!("{count} small ones"),
            &format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(count)),
        )
    });
    let cut = (0..PLAIN.len()).map(|at| chunked("short answer", format!("chunks cut at {at}"), &PLAIN[..at]));
    sizes.chain(ends).chain(trailers).chain(many).chain(cut).collect()
}

fn bodiless() -> Vec<Case> {
    let framings = [
        ("no length", ""),
        ("0", "content-length: 0\r\n"),
        ("5", "content-length: 5\r\n"),
        ("chunked", "transfer-encoding: chunked\r\n"),
        ("close", "connection: close\r\n"),
    ];
    let bodies = [("no body", ""), ("hello", "hello"), ("chunks", PLAIN), ("an answer", POISON)];
    let mut cases = Vec::new();
    for (framing, lines) in framings {
        for (body, bytes) in bodies {
            for status in ["204 None", "205 Reset", "304 Same"] {
                let name = format!("{status}, {framing}, {body}");
                cases.push(Case::answer("no body", name, format!("HTTP/1.1 {status}\r\n{lines}\r\n{bytes}")));
            }
            let said = format!("{OK}{lines}\r\n{bytes}");
            cases.push(Case::answer("HEAD", format!("{framing}, {body}"), said.clone()).of_head());
            cases.push(
                Case::answer("HEAD", format!("{framing}, {body}, and the end"), said).of_head().closing(),
            );
        }
    }
    cases
}

fn until_close() -> Vec<Case> {
    let heads = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n",
    ];
    heads
        .iter()
        .flat_map(|head| {
            [("end", End::Close), ("reset", End::Reset)].map(|(name, end)| {
                Case::answer(
                    "until close",
                    format!("{}, {name}", head.escape_debug()),
                    format!("{head}\r\nhello"),
                )
                .ending(end)
            })
        })
        .chain([
            Case::answer("until close", "no head", "hello").closing(),
            Case::answer("until close", "nothing", "").closing(),
            Case::answer("until close", "a reset", "").ending(End::Reset),
        ])
        .collect()
}

/// More than was announced: the rest must be nobody's answer.
fn surplus() -> Vec<Case> {
    let rests = [
        ("an answer", POISON),
        ("a byte", "x"),
        ("a line", "\r\n"),
        ("two answers", &POISON.repeat(2)),
        ("half an answer", &POISON[..20]),
        ("a request", "GET / HTTP/1.1\r\n\r\n"),
    ];
    let wholes = [
        ("length", format!("{OK}content-length: 5\r\n\r\nhello")),
        ("0", format!("{OK}content-length: 0\r\n\r\n")),
        ("chunked", format!("{OK}transfer-encoding: chunked\r\n\r\n{PLAIN}")),
        ("500", "HTTP/1.1 500 Bad\r\ncontent-length: 5\r\n\r\nhello".to_owned()),
        ("100", format!("HTTP/1.1 100 Continue\r\n\r\n{OK}content-length: 5\r\n\r\nhello")),
    ];
    let mut cases = Vec::new();
    for (rest, bytes) in rests {
        for (whole, said) in &wholes {
            let case = Case::answer("surplus", format!("{whole} and {rest}"), format!("{said}{bytes}"));
            cases.push(case.clone());
            cases.push(Case { name: format!("{} at the end", case.name), ..case.clone().closing() });
            let post = "POST /case HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\n\r\nhello";
            cases.push(Case { name: format!("{} to POST", case.name), ..case.clone().asked(post) });
            let pair = "GET /case HTTP/1.1\r\nhost: shop.test\r\n\r\n".repeat(2);
            cases.push(Case { name: format!("{} to two", case.name), ..case.asked(pair).answers(2) });
        }
    }
    cases.push(Case::answer("surplus", "before it is asked", POISON).when(When::Connected));
    cases
}

fn short() -> Vec<Case> {
    [0, 1, 4]
        .iter()
        .flat_map(|&length| {
            [("end", End::Close), ("reset", End::Reset)].map(|(name, end)| {
                Case::answer(
                    "short answer",
                    format!("{length} of 5, {name}"),
                    format!("{OK}content-length: 5\r\n\r\n{}", &"hello"[..length]),
                )
                .ending(end)
            })
        })
        .chain((1..OK.len() + 10).map(|at| {
            Case::answer(
                "short answer",
                format!("head cut at {at}"),
                &format!("{OK}content-length: 5\r\n\r\nhello")[..at],
            )
            .closing()
        }))
        .collect()
}

/// Answers before the request is there as a whole.
fn early() -> Vec<Case> {
    let answers = [
        ("200", "HTTP/1.1 200 OK\r\n"),
        ("413", "HTTP/1.1 413 Long\r\n"),
        ("413 and close", "HTTP/1.1 413 Long\r\nconnection: close\r\n"),
        ("500", "HTTP/1.1 500 Bad\r\n"),
    ];
    let length = 300_000;
    let whole = format!(
        "POST /case HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {length}\r\n\r\n{}",
        "x".repeat(length)
    );
    let expecting =
        "POST /case HTTP/1.1\r\nhost: shop.test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
            .to_owned();
    let mut cases = Vec::new();
    for (name, head) in answers {
        for (end, then) in [("", End::Stay), (", end", End::Close), (", reset", End::Reset)] {
            let said = format!("{head}content-length: 5\r\n\r\nhello");
            let of = |kind: &str, request: &str| {
                Case::answer("early", format!("{name}{end}, {kind}"), said.clone())
                    .asked(request)
                    .when(When::Head)
                    .ending(then)
            };
            cases.extend([
                of("a long body", &whole),
                of("an expectation", &expecting),
                of("expectation and body", &format!("{expecting}hello")),
            ]);
        }
    }
    cases
}

fn old_clients() -> Vec<Case> {
    let asked = [
        "GET /case HTTP/1.0\r\nhost: shop.test\r\n\r\n",
        "GET /case HTTP/1.0\r\nhost: shop.test\r\nconnection: keep-alive\r\n\r\n",
    ];
    let said = [
        ("length", format!("{OK}content-length: 5\r\n\r\nhello")),
        ("chunks", format!("{OK}transfer-encoding: chunked\r\n\r\n{PLAIN}")),
        ("trailers", format!("{OK}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: b\r\n\r\n")),
        ("no length", format!("{OK}\r\nhello")),
        ("cut chunks", format!("{OK}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")),
        ("cut length", format!("{OK}content-length: 50\r\n\r\nhello")),
    ];
    asked
        .iter()
        .flat_map(|asked| {
            said.iter().map(|(name, said)| {
                let kept = if asked.contains("keep") { ", kept" } else { "" };
                Case::answer("old client", format!("{name}{kept}"), said.clone()).asked(*asked).closing()
            })
        })
        .collect()
}
