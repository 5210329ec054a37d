//! Status lines and fields of answers.

use super::five;
use crate::case::{Case, OfByte, shown};

pub(super) fn all() -> Vec<Case> {
    [bytes(), lines(), statuses(), line_ends(), fields(), sizes(), interims()].concat()
}

fn bytes() -> Vec<Case> {
    let places: [OfByte; 5] = [
        ("reason byte", |it| [b"HTTP/1.1 200 O", &[it][..], b"K\r\ncontent-length: 5\r\n\r\nhello"].concat()),
        ("status byte", |it| [b"HTTP/1.1 200", &[it][..], b"OK\r\ncontent-length: 5\r\n\r\nhello"].concat()),
        ("answer name byte", |it| five([b"x-a", &[it][..], b"b: c\r\n"].concat())),
        ("answer first byte", |it| five([&[it][..], b"x-ab: c\r\n"].concat())),
        ("answer value byte", |it| five([b"x-a: b", &[it][..], b"c\r\n"].concat())),
    ];
    let each =
        |(family, made): OfByte| (0..=255).map(move |byte| Case::answer(family, shown(&[byte]), made(byte)));
    places.into_iter().flat_map(each).collect()
}

fn lines() -> Vec<Case> {
    let lines = [
        "HTTP/1.1 200",
        "HTTP/1.1 200 ",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.0 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/2 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.10 200 OK",
        "http/1.1 200 OK",
        "HTTP/1 200 OK",
        "HTTPS/1.1 200 OK",
        "ICY 200 OK",
        "HTTP/1.1",
        "200 OK",
        "OK",
        "",
        "HTTP/1.1 OK 200",
        "HTTP/1.1 +200 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1 200 O\u{fc}",
        "HTTP/1.1 200 OK OK",
    ];
    lines
        .map(|line| {
            Case::answer(
                "status line",
                format!("`{}`", line.escape_debug()),
                format!("{line}\r\ncontent-length: 5\r\n\r\nhello"),
            )
            .closing()
        })
        .into()
}

fn statuses() -> Vec<Case> {
    let words = [
        "0",
        "1",
        "20",
        "099",
        "600",
        "700",
        "999",
        "1000",
        "2000",
        "-20",
        "2 0",
        "abc",
        "20a",
        "200.0",
        "0200",
        "\u{662}00",
    ];
    let odd = words.map(|word| {
        Case::answer("status", word, format!("HTTP/1.1 {word} Said\r\ncontent-length: 5\r\n\r\nhello"))
            .closing()
    });
    let known = (200..600)
        .step_by(1)
        .filter(|it| it % 100 < 20 && ![204, 205, 304, 502, 503, 504].contains(it))
        .map(|status| {
            Case::answer(
                "status",
                status.to_string(),
                format!("HTTP/1.1 {status} Said\r\ncontent-length: 5\r\n\r\nhello"),
            )
        });
    odd.into_iter().chain(known).collect()
}

fn line_ends() -> Vec<Case> {
    let ends = ["\n", "\r", "\r\r\n", "\n\r\n", "\0\r\n", " \r\n"];
    ends.iter()
        .flat_map(|end| {
            [
                ("of the line", format!("HTTP/1.1 200 OK{end}content-length: 5\r\n\r\nhello")),
                ("of a field", format!("HTTP/1.1 200 OK\r\nx-a: b{end}content-length: 5\r\n\r\nhello")),
                ("of the head", format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n{end}hello")),
                ("before the line", format!("{end}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")),
            ]
            .map(|(place, said)| {
                Case::answer("answer line end", format!("`{}` {place}", end.escape_debug()), said).closing()
            })
        })
        .collect()
}

fn fields() -> Vec<Case> {
    let lines: [&[u8]; 20] = [
        b": b\r\n",
        b"x-a\r\n",
        b"x-a b\r\n",
        b"x-a : b\r\n",
        b"x-a\t: b\r\n",
        b"x-a:\r\n",
        b"x-a:b\r\n",
        b" x-a: b\r\n",
        b"x-a: b\r\n c\r\n",
        b"x-a: b\r\n\tc\r\n",
        b"x-a: b\rx-c: d\r\n",
        b"x-a: b\nx-c: d\r\n",
        b"x-a: b\0\r\n",
        b"x-a: \xff\r\n",
        b"x_a: b\r\n",
        b"x a: b\r\n",
        b"connection: close\r\n",
        b"connection: x-a\r\nx-a: b\r\n",
        b"upgrade: h2c\r\nconnection: upgrade\r\n",
        b"keep-alive: timeout=0\r\n",
    ];
    lines.iter().map(|line| Case::answer("answer field", shown(line), five(line))).collect()
}

fn sizes() -> Vec<Case> {
    let counts = [50, 100, 120, 200, 250, 257, 300, 1_000].map(|count: usize| {
        Case::answer("many answer fields", count.to_string(), five("x-a: b\r\n".repeat(count)))
    });
    let lengths = [1, 3, 4, 8, 15, 16, 31, 33, 60, 70].map(|size| {
        Case::answer(
            "long answer field",
            format!("{size} KiB"),
            five(format!("x-a: {}\r\n", "b".repeat(size * 1_024))),
        )
    });
    counts.into_iter().chain(lengths).collect()
}

fn interims() -> Vec<Case> {
    let last = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let kinds = [
        "100 Continue",
        "102 Processing",
        "103 Early Hints",
        "104 Upload",
        "199 Said",
        "101 Switching Protocols",
    ];
    kinds
        .iter()
        .flat_map(|kind| {
            let one = format!("HTTP/1.1 {kind}\r\nx-a: b\r\n\r\n");
            let counted = [1, 2, 8, 9, 100].map(|count| {
                Case::answer("interim", format!("{count} of {kind}"), format!("{}{last}", one.repeat(count)))
            });
            let lines = ["content-length: 5\r\n", "transfer-encoding: chunked\r\n", "connection: close\r\n"]
                .map(|lines| {
                    Case::answer(
                        "interim",
                        format!("{kind} with {}", lines.trim()),
                        format!("HTTP/1.1 {kind}\r\n{lines}\r\n{last}"),
                    )
                });
            let alone = Case::answer("interim", format!("{kind} and nothing else"), one.clone()).closing();
            let old = Case::answer("interim", format!("{kind} to HTTP/1.0"), format!("{one}{last}"))
                .asked("GET /case HTTP/1.0\r\nhost: shop.test\r\n\r\n");
            let head = Case::answer(
                "interim",
                format!("{kind} to HEAD"),
                format!("{one}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
            )
            .of_head();
            counted.into_iter().chain(lines).chain([alone, old, head])
        })
        .collect()
}
