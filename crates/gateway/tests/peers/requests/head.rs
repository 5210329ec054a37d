//! The line of a request, its host and its fields.

use super::{HOST, request};
use crate::case::{Case, OfByte, shown};

pub(super) fn all() -> Vec<Case> {
    [bytes(), separators(), line_ends(), methods(), targets(), versions(), hosts(), fields(), sizes()]
        .concat()
}

/// Every byte at each place where a byte can stand.
fn bytes() -> Vec<Case> {
    let places: [OfByte; 8] = [
        ("method byte", |it| [b"GE", &[it][..], b"T /case HTTP/1.1\r\nhost: shop.test\r\n\r\n"].concat()),
        ("target byte", |it| [b"GET /ca", &[it][..], b"se HTTP/1.1\r\nhost: shop.test\r\n\r\n"].concat()),
        ("query byte", |it| [b"GET /case?a", &[it][..], b"b HTTP/1.1\r\nhost: shop.test\r\n\r\n"].concat()),
        ("version byte", |it| [b"GET /case HTTP/1.1", &[it][..], b"\r\nhost: shop.test\r\n\r\n"].concat()),
        ("host byte", |it| [b"GET /case HTTP/1.1\r\nhost: sh", &[it][..], b"op.test\r\n\r\n"].concat()),
        ("field name byte", |it| request("GET", [b"x-a", &[it][..], b"b: c\r\n"].concat(), "")),
        ("field first byte", |it| request("GET", [&[it][..], b"x-ab: c\r\n"].concat(), "")),
        ("field value byte", |it| request("GET", [b"x-a: b", &[it][..], b"c\r\n"].concat(), "")),
    ];
    let each =
        |(family, made): OfByte| (0..=255).map(move |byte| Case::request(family, shown(&[byte]), made(byte)));
    let encoded = (0..=255u8).map(|byte| {
        let sent = format!("GET /ca%{byte:02x}se HTTP/1.1\r\n{HOST}\r\n");
        Case::request("encoded byte", format!("%{byte:02x}"), sent)
    });
    places.into_iter().flat_map(each).chain(encoded).collect()
}

fn separators() -> Vec<Case> {
    let marks = ["", "  ", "\t", " \t", "\x0b", "\x0c", "\r", "\u{a0}", "+"];
    marks
        .iter()
        .flat_map(|mark| {
            [
                ("before the method", format!("{mark}GET /case HTTP/1.1\r\n{HOST}\r\n")),
                ("before the target", format!("GET{mark}/case HTTP/1.1\r\n{HOST}\r\n")),
                ("before the version", format!("GET /case{mark}HTTP/1.1\r\n{HOST}\r\n")),
                ("behind the version", format!("GET /case HTTP/1.1{mark}\r\n{HOST}\r\n")),
            ]
            .map(|(place, sent)| {
                Case::request("separator", format!("`{}` {place}", mark.escape_debug()), sent)
            })
        })
        .collect()
}

fn line_ends() -> Vec<Case> {
    let ends = ["\n", "\r", "\r\r\n", "\n\r\n", "\0\r\n", "\r\n\r", "\x0b\r\n", " \r\n", "\u{85}"];
    ends.iter()
        .flat_map(|end| {
            [
                ("of the line", format!("GET /case HTTP/1.1{end}{HOST}\r\n")),
                ("of the host", format!("GET /case HTTP/1.1\r\nhost: shop.test{end}\r\n")),
                ("of a field", format!("GET /case HTTP/1.1\r\n{HOST}x-a: b{end}x-c: d\r\n\r\n")),
                ("of the head", format!("GET /case HTTP/1.1\r\n{HOST}{end}")),
                (
                    "before a length",
                    format!("POST /case HTTP/1.1\r\n{HOST}x-a: b{end}content-length: 5\r\n\r\nhello"),
                ),
                ("before the line", format!("{end}GET /case HTTP/1.1\r\n{HOST}\r\n")),
            ]
            .map(|(place, sent)| Case::request("line end", format!("`{}` {place}", end.escape_debug()), sent))
        })
        .collect()
}

fn methods() -> Vec<Case> {
    let long = "A".repeat(300);
    let words = [
        "get", "Get", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "CONNECT", "PROPFIND", "MKCOL",
        "PURGE", "BREW", "A", "M-SEARCH", "PRI", "_", "GET-", "", "QUERY", &long,
    ];
    words
        .iter()
        .map(|word| {
            let case =
                Case::request("method", format!("`{}`", &word[..word.len().min(20)]), request(word, "", ""));
            if *word == "HEAD" { Case { head: true, ..case } } else { case }
        })
        .collect()
}

fn targets() -> Vec<Case> {
    let forms = [
        "/",
        "*",
        "",
        "case",
        "?a=b",
        "/case?",
        "/case?a=b?c",
        "/case#a",
        "/case?a#b",
        "//case",
        "///case",
        "/./case",
        "/a/../case",
        "/..",
        "/../case",
        "/a/../../case",
        "/%2e%2e/case",
        "/case/%2e%2e/a",
        "/case%2f..%2fa",
        "/..%2fcase",
        "/case;a=b",
        "/..;/case",
        "/case%00",
        "/case%",
        "/case%2",
        "/case%zz",
        "/case%u0041",
        "/case%252e",
        "\\case",
        "/case\\..\\a",
        "http://shop.test/case",
        "http://shop.test",
        "http://shop.test?a=b",
        "http://shop.test:80/case",
        "http://other.test/case",
        "HTTP://shop.test/case",
        "https://shop.test/case",
        "ftp://shop.test/case",
        "http:///case",
        "http:/case",
        "http://",
        "http://user@shop.test/case",
        "http://user:pass@shop.test/case",
        "http://shop.test:abc/case",
        "http://shop.test:99999/case",
        "http://[::1]/case",
        "http://[::1/case",
        "http://shop.test/../case",
        "http://shop.test/#a",
        "http://shop test/case",
        "shop.test:80",
        "//shop.test/case",
        "http://shop.test\\case",
        "http://shop.test@other.test/case",
        "javascript:alert(1)",
        "/case HTTP/1.1 x",
    ];
    forms
        .iter()
        .flat_map(|form| {
            ["GET", "OPTIONS", "CONNECT"].map(|method| {
                let sent = format!("{method} {form} HTTP/1.1\r\n{HOST}\r\n");
                Case::request("target", format!("{method} {form}"), sent)
            })
        })
        .collect()
}

fn versions() -> Vec<Case> {
    let words = [
        "HTTP/1.0",
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/1.9",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/3.0",
        "HTTP/9.9",
        "HTTP/11.1",
        "HTTP/1.10",
        "HTTP/1,1",
        "http/1.1",
        "Http/1.1",
        "HTTP /1.1",
        "HTTP/ 1.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/01.1",
        "HTTP/1.01",
        "HTTPS/1.1",
        "HTTP/+1.1",
        "HTTP/1.1x",
        "HTTP/-1.1",
        "HTTP1.1",
        "HTTP\\1.1",
        "HTP/1.1",
        "ICY/1.1",
        "RTSP/1.0",
        "SIP/2.0",
        "HTTP/1.1 HTTP/1.1",
        "HTTP/A.B",
    ];
    let of = |word: &&str| Case::request("version", *word, format!("GET /case {word}\r\n{HOST}\r\n"));
    let none = Case::request("version", "none", format!("GET /case\r\n{HOST}\r\n"));
    let bare = Case::request("version", "none, and no field", "GET /case\r\n\r\n");
    let old = ["", "connection: keep-alive\r\n", "connection: close\r\n"].map(|lines| {
        Case::request(
            "version",
            format!("HTTP/1.0 without host, {lines:?}"),
            format!("GET /case HTTP/1.0\r\n{lines}\r\n"),
        )
    });
    words.iter().map(of).chain([none, bare]).chain(old).collect()
}

fn hosts() -> Vec<Case> {
    let long = "a".repeat(254);
    let values = [
        "",
        " ",
        "shop.test:",
        "shop.test:0",
        "shop.test:80",
        "shop.test:080",
        "shop.test:65536",
        "shop.test:abc",
        "shop.test:-1",
        "shop.test: 80",
        "shop.test :80",
        "shop.test:80:80",
        "SHOP.TEST",
        "shop.test.",
        "shop.test..",
        ".shop.test",
        "shop..test",
        "-shop.test",
        "shop_test",
        "shop.test/a",
        "shop.test?a",
        "shop.test#a",
        "user@shop.test",
        "shop.test\\a",
        "http://shop.test",
        "shop.test,other.test",
        "shop.test, other.test",
        "shop.test other.test",
        "*",
        "*.test",
        "[::1]",
        "[::1]:80",
        "[::1",
        "::1",
        "[zz]",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "1",
        "xn--bcher-kva.test",
        "b\u{fc}cher.test",
        "shop%2etest",
        "shop.test%00",
        "(shop)",
        "shop'test",
        "{shop}",
        "shop$test",
        "shop!test",
        "shop;test",
        "shop=test",
        "shop~test",
        "&",
        "\"shop\"",
        &long,
    ];
    let one = |value: &&str| {
        let sent = format!("GET /case HTTP/1.1\r\nhost: {value}\r\n\r\n");
        Case::request("host", format!("`{}`", &value.chars().take(30).collect::<String>()), sent)
    };
    let fields = [
        "",
        "host: shop.test\r\nhost: shop.test\r\n",
        "host: shop.test\r\nhost: other.test\r\n",
        "host: shop.test\r\nHost: other.test\r\n",
        "x-a: b\r\nhost: shop.test\r\n",
        "host : shop.test\r\n",
        "host\t: shop.test\r\n",
        " host: shop.test\r\n",
        "host:shop.test\r\n",
        "host:\tshop.test\r\n",
        "host: shop.test\t\r\n",
        "host:\r\n shop.test\r\n",
        "host: shop.test\r\n :80\r\n",
        "host\r\n",
        "host shop.test\r\n",
        "host: shop.test\r\nhost : other.test\r\n",
        "host: shop.test\r\nho\0st: other.test\r\n",
        "host: shop.test\r\n host: other.test\r\n",
        "host: shop.test\r\nx-forwarded-host: other.test\r\n",
        "hos\u{17f}t: shop.test\r\n",
        "host: shop.test\r\nhost:\r\n",
    ];
    let several = fields.iter().flat_map(|lines| {
        ["/case", "http://shop.test/case", "http://other.test/case"].map(|target| {
            let sent = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
            Case::request("host field", format!("{target} {}", lines.escape_debug()), sent)
        })
    });
    values.iter().map(one).chain(several).collect()
}

fn fields() -> Vec<Case> {
    let lines: [&[u8]; 30] = [
        b": b\r\n",
        b" : b\r\n",
        b"x-a\r\n",
        b"x-a b\r\n",
        b"x-a : b\r\n",
        b"x-a\t: b\r\n",
        b"x-a:\r\n",
        b"x-a:b\r\n",
        b"x-a::b\r\n",
        b"x-a:  b  \r\n",
        b"x-a:\tb\t\r\n",
        b" x-a: b\r\n",
        b"\tx-a: b\r\n",
        b"x-a: b\r\n c\r\n",
        b"x-a: b\r\n\tc\r\n",
        b"x-a: b\r\n \r\n",
        b"x-a: b\r\n\r\n",
        b"x-a: b\rx-c: d\r\n",
        b"x-a: b\nx-c: d\r\n",
        b"x-a: b\0\r\n",
        b"x-a: \x7f\r\n",
        b"x-a: \xff\xfe\r\n",
        b"x_a: b\r\n",
        b"x.a: b\r\n",
        b"(x): b\r\n",
        b"x/a: b\r\n",
        b"\"x\": b\r\n",
        b"x a: b\r\n",
        b"\xc3\xbc: b\r\n",
        b"{x}: b\r\n",
    ];
    let odd = lines.iter().map(|line| Case::request("field", shown(line), request("GET", line, "")));
    // Each odd line just behind the line of the request, too: some programs treat the first field otherwise.
    let first = lines.iter().map(|line| {
        let sent = [b"GET /case HTTP/1.1\r\n", *line, HOST.as_bytes(), b"\r\n"].concat();
        Case::request("first field", shown(line), sent)
    });
    odd.chain(first).collect()
}

fn sizes() -> Vec<Case> {
    let counts = [50, 99, 100, 101, 128, 200, 250, 257, 300, 1_000].map(|count: usize| {
        Case::request("many fields", count.to_string(), request("GET", "x-a: b\r\n".repeat(count), ""))
    });
    let kilobytes = [1, 4, 7, 8, 12, 15, 16, 24, 31, 33, 60, 70];
    let values = kilobytes.map(|size| {
        let line = format!("x-a: {}\r\n", "b".repeat(size * 1_024));
        Case::request("long field", format!("{size} KiB"), request("GET", line, ""))
    });
    let names = kilobytes.map(|size| {
        let line = format!("{}: b\r\n", "x".repeat(size * 1_024));
        Case::request("long name", format!("{size} KiB"), request("GET", line, ""))
    });
    let targets = kilobytes.map(|size| {
        let sent = format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "a".repeat(size * 1_024));
        Case::request("long target", format!("{size} KiB"), sent)
    });
    counts.into_iter().chain(values).chain(names).chain(targets).collect()
}
