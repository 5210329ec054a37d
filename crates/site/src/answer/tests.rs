use std::fs;

use axum::body::to_bytes;
use lockstep_domain::static_files::StaticFiles;
use proptest::prelude::*;
use tower_service::Service as _;

use super::*;

const LARGE: usize = 1 << 20;

/// A site in a folder of its own, asked as a client asks.
struct Stage {
    folder: tempfile::TempDir,
    site: Site,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Stage {
    fn begin(fallback: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join("dist").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("index.html", "<h1>shop</h1>");
        write("assets/app.3f2a.js", "let shop = 1;");
        write("assets/app.3f2a.js.gz", "packed");
        write("docs/index.html", "docs");
        write("odd folder/ü/index.html", "odd page");
        write(".env", "PASSWORD=s3cr3t");
        write(".well-known/security.txt", "write to us");
        write("odd name.txt", "odd");
        fs::write(folder.path().join("secret"), "s3cr3t").unwrap();
        let files = StaticFiles {
            root: Some("dist".parse().unwrap()),
            fallback: fallback.map(|it| it.parse().unwrap()),
            immutable: vec!["assets".parse().unwrap()],
        };
        Self { folder, site: Site::new(files, "1a2b-c0".into()) }
    }

    fn ask(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask_by("GET", path, fields)
    }

    fn ask_by(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let site = self.site.clone().at(self.folder.path().to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let answer = crate::router(site).call(request.body(Body::empty()).unwrap()).await.unwrap();
            let (parts, body) = answer.into_parts();
            let body = to_bytes(body, LARGE).await.unwrap();
            Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            }
        })
    }
}

#[test]
fn a_file_has_its_type_and_may_be_kept_as_long_as_it_is_the_same() {
    let stage = Stage::begin(None);
    let page = stage.ask("/", &[]);
    assert_eq!((page.status, page.body.as_str()), (200, "<h1>shop</h1>"));
    assert_eq!(page.header("content-type"), "text/html");
    assert_eq!((page.header("cache-control"), page.header("etag")), ("no-cache", "\"1a2b-c0\""));
    assert_eq!((page.header("last-modified"), page.header("x-content-type-options")), ("", "nosniff"));
    let again = stage.ask("/", &[("if-none-match", "\"1a2b-c0\"")]);
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", "\"1a2b-c0\""));
    let newer = stage.ask(
        "/",
        &[("if-none-match", "\"0000-c0\""), ("if-modified-since", "Fri, 31 Dec 2100 00:00:00 GMT")],
    );
    assert_eq!(newer.status, 200, "the time of a file says nothing");
    let script = stage.ask("/assets/app.3f2a.js", &[]);
    assert_eq!(script.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(script.header("content-type").contains("javascript"));
}

#[test]
fn a_packed_file_is_sent_to_who_takes_it_and_is_another_answer() {
    let stage = Stage::begin(None);
    let packed = stage.ask("/assets/app.3f2a.js", &[("accept-encoding", "gzip, br")]);
    assert_eq!((packed.body.as_str(), packed.header("content-encoding")), ("packed", "gzip"));
    assert_eq!((packed.header("etag"), packed.header("vary")), ("\"1a2b-c0-gzip\"", "accept-encoding"));
    assert_eq!(stage.ask("/assets/app.3f2a.js", &[]).body, "let shop = 1;");
}

#[test]
fn a_part_is_of_the_file_that_was_begun_or_the_whole_is_sent() {
    let stage = Stage::begin(None);
    let part = stage.ask("/", &[("range", "bytes=0-3")]);
    assert_eq!(
        (part.status, part.body.as_str(), part.header("content-range")),
        (206, "<h1>", "bytes 0-3/13")
    );
    let same = stage.ask("/", &[("range", "bytes=0-3"), ("if-range", "\"1a2b-c0\"")]);
    assert_eq!(same.status, 206);
    for other in ["\"0000-c0\"", "W/\"1a2b-c0\"", "Fri, 31 Dec 2100 00:00:00 GMT"] {
        let whole = stage.ask("/", &[("range", "bytes=0-3"), ("if-range", other)]);
        assert_eq!((whole.status, whole.body.as_str()), (200, "<h1>shop</h1>"), "{other}");
    }
    assert_eq!(stage.ask("/", &[("range", "bytes=99-")]).status, 416);
    let several = stage.ask("/", &[("range", "bytes=0-0,5-9")]);
    assert_eq!((several.status, several.body.as_str()), (200, "<h1>shop</h1>"));
}

#[test]
fn a_part_is_never_of_the_file_packed_in_another_way() {
    let stage = Stage::begin(None);
    let path = "/assets/app.3f2a.js";
    let ask = |tag: &str, packed: &str| {
        stage.ask(path, &[("range", "bytes=0-2"), ("if-range", tag), ("accept-encoding", packed)])
    };
    let (plain, packed) = ("\"1a2b-c0\"", "\"1a2b-c0-gzip\"");
    for (tag, takes, status, body) in [
        (plain, "identity", 206, "let"),
        (plain, "gzip", 200, "packed"),
        (packed, "gzip", 206, "pac"),
        (packed, "identity", 200, "let shop = 1;"),
    ] {
        let answer = ask(tag, takes);
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{tag} {takes}");
    }
}

#[test]
fn what_the_client_has_is_asked_before_a_part_and_by_our_own_tag() {
    let stage = Stage::begin(Some("index.html"));
    let tag = "\"1a2b-c0\"";
    for range in ["bytes=0-3", "bytes=99-"] {
        let answer = stage.ask("/", &[("if-none-match", tag), ("range", range)]);
        assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{range}");
    }
    assert_eq!(stage.ask("/", &[("if-match", tag)]).status, 200);
    assert_eq!(
        stage.ask("/", &[("if-match", "*"), ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT")]).status,
        200
    );
    assert_eq!(stage.ask("/", &[("if-match", "\"0000-c0\"")]).status, 412);
    assert_eq!(stage.ask_by("HEAD", "/", &[("if-none-match", tag)]).header("content-length"), "13");
    let outside = stage.ask("/", &[("range", "bytes=99-")]);
    assert_eq!((outside.status, outside.header("etag"), outside.header("last-modified")), (416, "", ""));
    assert_eq!(stage.ask("/", &[("range", "lines=0-3")]).body, "<h1>shop</h1>");
    let page = stage.ask("/orders", &[("accept", "text/html")]);
    assert_eq!(page.header("vary"), "accept, accept-encoding");
}

#[test]
fn a_page_that_is_no_file_is_the_fallback_and_a_script_that_is_missing_is_missing() {
    let stage = Stage::begin(Some("index.html"));
    let page = stage.ask("/orders/7", &[("accept", "text/html,*/*")]);
    assert_eq!(
        (page.status, page.body.as_str(), page.header("cache-control")),
        (200, "<h1>shop</h1>", "no-cache")
    );
    assert_eq!(stage.ask("/assets/gone.js", &[("accept", "*/*")]).status, 404);
    assert_eq!(stage.ask_by("POST", "/orders/7", &[("accept", "text/html")]).status, 405);
    let without = Stage::begin(None);
    assert_eq!(without.ask("/orders/7", &[("accept", "text/html")]).status, 404);
    fs::write(without.folder.path().join("dist/404.html"), "not here").unwrap();
    let missing = without.ask("/orders/7", &[("accept", "text/html")]);
    assert_eq!((missing.status, missing.body.as_str()), (404, "not here"));
}

#[test]
fn a_folder_is_led_to_by_a_relative_way() {
    let stage = Stage::begin(None);
    let way = stage.ask("/docs?page=2", &[]);
    assert_eq!((way.status, way.header("location")), (307, "./docs/?page=2"));
    assert_eq!(stage.ask("/docs/", &[]).body, "docs");
    assert_eq!(stage.ask("/odd%20folder/%C3%BC?a", &[]).header("location"), "./%C3%BC/?a");
    assert_eq!(stage.ask("/odd%20folder/%C3%BC/", &[]).body, "odd page");
    assert_eq!(stage.ask("/assets", &[]).status, 404, "no list of a folder");
    assert_eq!(stage.ask("/odd%20name.txt", &[]).body, "odd");
}

#[test]
fn nothing_is_served_that_nobody_meant_to() {
    let stage = Stage::begin(Some("index.html"));
    let tries = [
        "/.env",
        "/%2eenv",
        "/%2Eenv",
        "/assets/../.env",
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/assets/%2e%2e/%2e%2e/secret",
        "//secret",
        "/./.env",
    ];
    for path in tries {
        let answer = stage.ask(path, &[("accept", "text/html")]);
        assert!(!answer.body.contains("s3cr3t"), "{path}: {}", answer.body);
    }
    assert_eq!(stage.ask("/.well-known/security.txt", &[]).body, "write to us");
}

proptest! {
    #[test]
    fn no_path_leaves_the_root(path in "(/(\\.|%2e|%2E|%2f|%00|%5c|[a-z]|secret|dist|\\.\\.){0,4}){1,6}") {
        let stage = Stage::begin(None);
        let answer = stage.ask(&path, &[]);
        prop_assert!(!answer.body.contains("s3cr3t"), "{path}");
        prop_assert!(answer.status < 500, "{path}: {}", answer.status);
    }
}
