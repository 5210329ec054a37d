//! The program of every service of the chains; what it does is said by its configuration and by what it is asked for.

/// It is asked for `.../cart.hub.stock`: it asks `cart` for `hub.stock`, and answers its own version and what that answered. `FORWARDS` names the fields that it
/// passes on, and `AT_CART` the address that it asks instead of `LOCKSTEP_URL_CART`.
pub(super) const SOURCE: &str = r#"use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::{TcpListener, TcpStream};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn main() {
    let listener = TcpListener::bind(format!("{}:{}", variable("HOST"), variable("PORT"))).expect("a free port");
    for stream in listener.incoming().map_while(Result::ok) {
        std::thread::spawn(move || serve(stream));
    }
}

/// Reads a head: its first line, and the fields after it.
fn head(reader: &mut BufReader<TcpStream>) -> io::Result<(String, Vec<String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(Error::other("it left"));
        }
        if line == "\r\n" {
            let first = lines.remove(0);
            return Ok((first, lines));
        }
        lines.push(line);
    }
}

fn field<'a>(fields: &'a [String], name: &str) -> Option<&'a str> {
    let all = fields.iter().filter_map(|field| field.split_once(':'));
    all.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut kept = HashMap::new();
    let forwards = variable("FORWARDS");
    loop {
        let (first, fields) = head(&mut reader)?;
        let path = first.split(' ').nth(1).unwrap_or_default();
        let way = path.rsplit('/').next().unwrap_or_default();
        let passed: String = forwards
            .split(' ')
            .filter_map(|name| Some(format!("{name}: {}\r\n", field(&fields, name)?)))
            .collect();
        let (status, body) = match way.split_once('.').unwrap_or((way, "end")) {
            ("health" | "end", _) => (200, variable("NAME")),
            (next, rest) => match ask(&mut kept, next, rest, &passed) {
                Ok((status, trail)) => (status, format!("{} {trail}", variable("NAME"))),
                Err(error) => (599, format!("{} got nothing of {next}: {error}", variable("NAME"))),
            },
        };
        let length = body.len();
        write!(writer, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}")?;
    }
}

/// Asks over a connection that was kept, or over a new one where there is none or it ended in between.
fn ask(
    kept: &mut HashMap<String, BufReader<TcpStream>>,
    next: &str,
    rest: &str,
    passed: &str,
) -> io::Result<(u16, String)> {
    let upper = next.to_uppercase();
    let at = variable(&format!("AT_{upper}"));
    let url = if at.is_empty() { variable(&format!("LOCKSTEP_URL_{upper}")) } else { format!("http://{at}") };
    let place = url.trim_start_matches("http://");
    let (host, base) = place.split_at(place.find('/').unwrap_or(place.len()));
    let request = format!("GET {base}/{rest} HTTP/1.1\r\nhost: {host}\r\n{passed}\r\n");
    if let Some(mut old) = kept.remove(next) {
        if let Ok((fields, answer)) = exchange(&mut old, &request) {
            if field(&fields, "connection") != Some("close") {
                kept.insert(next.to_owned(), old);
            }
            return Ok(answer);
        }
    }
    let stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    let mut new = BufReader::new(stream);
    let (fields, answer) = exchange(&mut new, &request)?;
    if field(&fields, "connection") != Some("close") {
        kept.insert(next.to_owned(), new);
    }
    Ok(answer)
}

fn exchange(connection: &mut BufReader<TcpStream>, request: &str) -> io::Result<(Vec<String>, (u16, String))> {
    connection.get_mut().write_all(request.as_bytes())?;
    let (first, fields) = head(connection)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(599);
    let length = field(&fields, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((fields, (status, String::from_utf8_lossy(&body).into_owned())))
}
"#;
