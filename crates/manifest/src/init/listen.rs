//! Where a program is told to listen: the addresses in commands and variables, and references in their places.
//!
//! A program in a container listens on a port that is always the same; an instance is given a free one. So `--port 8000`
//! becomes `--port ${self.port}`, and `0.0.0.0:8000` becomes `${self.host}:${self.port}`.

use super::is_program;

const HOST: &str = "${self.host}";
const PORT: &str = "${self.port}";
/// Addresses that mean all of them, and what a program listens on by.
const ANY: [&str; 4] = ["0.0.0.0", "[::]", "::", "*"];

/// Whether it was told where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its port is told.
    Port,
    /// Nothing says it.
    No,
}

/// Puts references in the places of the addresses in a command.
pub(crate) fn in_command(words: &mut Vec<String>, ports: &[u16]) -> Told {
    let is_script = words.first().is_some_and(|program| crate::value::is_shell(program));
    let mut told = Told::No;
    let mut before = String::new();
    for (at, word) in words.iter_mut().enumerate() {
        let new = match at {
            0 => None,
            _ if is_script && at == 2 => in_script(word, ports),
            _ => in_word(word, &before, ports),
        };
        before.clone_from(word);
        if let Some(new) = new {
            *word = new;
        }
        if word.contains(PORT) || is_script && (word.contains("$PORT") || word.contains("${PORT")) {
            told = Told::Port;
        }
    }
    if told == Told::No && !is_script { add(words) } else { told }
}

/// Goes through the words of a script, and leaves everything else as it is.
fn in_script(script: &str, ports: &[u16]) -> Option<String> {
    let mut before = String::new();
    let mut changed = false;
    let mut each = |word: &str| {
        let bare = word.trim_matches(['"', '\'', ';']);
        let new = in_word(bare, &before, ports).map(|new| word.replace(bare, &new));
        before = bare.to_owned();
        changed |= new.is_some();
        new.unwrap_or_else(|| word.to_owned())
    };
    let parts: Vec<String> =
        script.split(' ').map(|word| if word.is_empty() { String::new() } else { each(word) }).collect();
    changed.then(|| parts.join(" "))
}

/// Returns what a word becomes, if anything: `0.0.0.0:8000`, `--port=8000`, `8000` behind a flag.
fn in_word(word: &str, before: &str, ports: &[u16]) -> Option<String> {
    if ANY[..3].contains(&word) || is_host_flag(before) && is_address(word) {
        return Some(HOST.into());
    }
    if let Some(address) = address(word, before, ports) {
        return Some(address);
    }
    if word.parse::<u16>().is_ok() && is_port_flag(before) {
        return Some(PORT.into());
    }
    let (flag, value) = word.split_once('=')?;
    if is_host_flag(flag) && is_address(value) {
        return Some(format!("{flag}={HOST}"));
    }
    let is_port = value.parse::<u16>().is_ok() && is_port_flag(flag);
    let value = if is_port { Some(PORT.to_owned()) } else { address(value, flag, ports) };
    value.map(|value| format!("{flag}={value}"))
}

/// Reads an address with its port, such as `0.0.0.0:8000`, `tcp://0.0.0.0:3000` or `:8000`.
fn address(text: &str, before: &str, ports: &[u16]) -> Option<String> {
    let (scheme, rest) = text.find("://").map_or(("", text), |at| text.split_at(at + 3));
    let (host, port) = rest.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let is_own = ports.contains(&port) || is_bind_flag(before);
    let takes_all = ANY.contains(&host) || host == "+";
    let is_here = host.is_empty() || host == "localhost" || host == "127.0.0.1";
    (takes_all || is_here && is_own && is_bind_flag(before) || host.is_empty() && is_own)
        .then(|| format!("{scheme}{HOST}:{PORT}"))
}

fn is_address(word: &str) -> bool {
    ANY.contains(&word) || word == "localhost" || word == "127.0.0.1"
}

fn is_host_flag(flag: &str) -> bool {
    let name = flag.trim_start_matches('-').to_ascii_lowercase();
    flag.starts_with('-')
        && (matches!(
            name.as_str(),
            "host" | "hostname" | "bind" | "b" | "o" | "h" | "a" | "address" | "server.address" | "interface"
        ))
}

fn is_bind_flag(flag: &str) -> bool {
    let name = flag.trim_start_matches('-').to_ascii_lowercase();
    flag.starts_with('-')
        && ["bind", "listen", "addr", "b", "s", "l", "address", "http"]
            .iter()
            .any(|word| name == *word || word.len() > 3 && name.contains(word))
}

fn is_port_flag(flag: &str) -> bool {
    let name = flag.trim_start_matches('-').to_ascii_lowercase();
    flag.starts_with('-')
        && (name == "p" || name == "port" || name.ends_with("port") && !name.contains("report"))
        || matches!(flag, "http.server" | "runserver")
}

/// Adds where to listen to the commands of servers that take it as arguments.
fn add(words: &mut Vec<String>) -> Told {
    let arguments: &[&str] = match server(words) {
        Some("uvicorn" | "flask" | "fastapi" | "vite") => &["--host", HOST, "--port", PORT],
        Some("gunicorn" | "hypercorn") => &["--bind", "${self.host}:${self.port}"],
        Some("waitress") => &["--listen", "${self.host}:${self.port}"],
        Some("daphne" | "rails") => &["-b", HOST, "-p", PORT],
        Some("rackup") => &["-o", HOST, "-p", PORT],
        Some("next") => &["-H", HOST, "-p", PORT],
        Some("http-server") => &["-a", HOST, "-p", PORT],
        Some("streamlit") => &["--server.address", HOST, "--server.port", PORT],
        Some("runserver") => &["${self.host}:${self.port}"],
        Some("http.server") => &[PORT, "--bind", HOST],
        Some(_) | None => return Told::No,
    };
    if words.iter().any(|word| word.ends_with(HOST)) && arguments.len() == 4 {
        words.extend(arguments[2..].iter().map(|&word| word.to_owned()));
    } else {
        words.extend(arguments.iter().map(|&word| word.to_owned()));
    }
    Told::Port
}

/// Returns which server is started, if it is one that takes its address as arguments.
fn server(words: &[String]) -> Option<&'static str> {
    let is = |name: &str| words.iter().take(4).any(|word| is_program(word, name));
    let has = |word: &str| words.iter().any(|it| it == word);
    let plain = [
        "uvicorn",
        "gunicorn",
        "hypercorn",
        "waitress",
        "daphne",
        "rackup",
        "http-server",
        "streamlit",
        "http.server",
    ];
    let found = plain.into_iter().find(|name| is(name));
    let sub = [
        ("flask", "run"),
        ("rails", "server"),
        ("rails", "s"),
        ("next", "start"),
        ("next", "dev"),
        ("vite", "preview"),
        ("fastapi", "run"),
        ("fastapi", "dev"),
    ];
    found
        .or_else(|| sub.into_iter().find(|(name, word)| is(name) && has(word)).map(|(name, _)| name))
        .or_else(|| has("runserver").then_some("runserver"))
}

/// Puts references in the place of an address in the value of a variable; `None` where it says nothing of that.
pub(crate) fn in_variable(name: &str, value: &str, ports: &[u16]) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if value.parse::<u16>().is_ok_and(|port| ports.contains(&port))
        && (upper.ends_with("PORT") || upper.ends_with("PORTS"))
    {
        return Some(PORT.into());
    }
    if matches!(value, "0.0.0.0" | "[::]" | "::") {
        return Some(HOST.into());
    }
    let parts: Vec<&str> = value.split(';').collect();
    let new: Option<Vec<String>> = parts.iter().map(|part| address(part, "", ports)).collect();
    new.map(|mut new| {
        new.dedup();
        new.join(";")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(command: &str, ports: &[u16]) -> String {
        let mut words = super::super::call::Call::read(command).unwrap().words();
        in_command(&mut words, ports);
        words.join(" ")
    }

    #[test]
    fn addresses_become_references() {
        for (command, new) in [
            (
                "uvicorn app:app --host 0.0.0.0 --port 80",
                "uvicorn app:app --host ${self.host} --port ${self.port}",
            ),
            ("uvicorn app:app --host=0.0.0.0", "uvicorn app:app --host=${self.host} --port ${self.port}"),
            ("gunicorn -w 4 -b 0.0.0.0:8000 app:app", "gunicorn -w 4 -b ${self.host}:${self.port} app:app"),
            ("gunicorn app:app", "gunicorn app:app --bind ${self.host}:${self.port}"),
            (
                "python manage.py runserver 0.0.0.0:8000",
                "python manage.py runserver ${self.host}:${self.port}",
            ),
            ("python -m http.server 8000", "python -m http.server ${self.port}"),
            ("php -S 0.0.0.0:80 -t public", "php -S ${self.host}:${self.port} -t public"),
            ("./server -listen :8000", "./server -listen ${self.host}:${self.port}"),
            ("java -jar a.jar --server.port=8080", "java -jar a.jar --server.port=${self.port}"),
            ("./server --workers 8000 --report 80", "./server --workers 8000 --report 80"),
            ("flask run", "flask run --host ${self.host} --port ${self.port}"),
        ] {
            assert_eq!(told(command, &[8000]), new);
        }
        let script = "migrate && serve --port 8000 -b \"0.0.0.0:8000\"";
        assert_eq!(
            told(script, &[]),
            "sh -c migrate && serve --port ${self.port} -b \"${self.host}:${self.port}\""
        );
    }

    #[test]
    fn variables_become_references() {
        for (name, value, new) in [
            ("HTTP_PORT", "8000", Some("${self.port}")),
            ("DB_PORT", "5432", None),
            ("LISTEN", "0.0.0.0:9000", Some("${self.host}:${self.port}")),
            ("ASPNETCORE_URLS", "http://+:80;http://*:81", Some("http://${self.host}:${self.port}")),
            ("ADDR", ":8000", Some("${self.host}:${self.port}")),
            ("URL", "http://web:8000", None),
            ("BIND", "0.0.0.0", Some("${self.host}")),
        ] {
            assert_eq!(in_variable(name, value, &[8000]).as_deref(), new, "{name}={value}");
        }
    }
}
