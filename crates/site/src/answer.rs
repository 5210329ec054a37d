//! One answer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, LOCATION, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeDir;

use crate::site::Site;

/// What has a new name whenever it changes is kept for a year, the longest time that is in use.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Everything else may be kept, and is asked for again each time.
const ASK_AGAIN: &str = "no-cache";
/// What is answered, with its status, where nothing else is at a path.
const NOT_FOUND_PAGE: &str = "404.html";

pub(crate) async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if is_hidden(&path) {
        return StatusCode::NOT_FOUND.into_response();
    }
    if let Some(redirect) = to_folder(&site, request.uri()) {
        return redirect;
    }
    let asked = Asked::of(request.headers(), &site.tag);
    let file = find(&site, request, &path, asked.may_be_part).await;
    if file.status() != StatusCode::NOT_FOUND {
        return finished(&site, &asked, &path, file);
    }
    let page = match site.fallback().filter(|_| asked.wants_page && reads) {
        Some(page) => whole(&page).await,
        None => return not_found(&site).await,
    };
    finished(&site, &asked, "", page)
}

/// What was asked beside the path.
struct Asked {
    if_none_match: Option<HeaderValue>,
    wants_page: bool,
    may_be_part: bool,
}

impl Asked {
    fn of(headers: &HeaderMap, tag: &str) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            if_none_match: headers.get(IF_NONE_MATCH).cloned(),
            wants_page: text(ACCEPT).is_some_and(|accept| accept.contains("text/html")),
            // A part of another file than the one that somebody has begun to read would spoil it; several parts at once are answered with
            // the whole, as they may be (RFC 9110, 14.2).
            may_be_part: text(RANGE).is_some_and(|range| !range.contains(','))
                && (!headers.contains_key(IF_RANGE) || text(IF_RANGE).is_some_and(|it| is_ours(it, tag))),
        }
    }
}

/// Tells whether a name begins with a dot anywhere: nobody means to publish those, but for `.well-known`.
fn is_hidden(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    path.split('/').any(|part| part.starts_with('.') && part != ".well-known")
}

/// Leads from the name of a folder to the folder, so that what is relative in its page is found. The way is a relative one, because a route
/// may have taken a prefix away.
fn to_folder(site: &Site, uri: &Uri) -> Option<Response> {
    let path = uri.path();
    let name = path.rsplit('/').next().filter(|name| !name.is_empty() && !name.contains('%'))?;
    let folder = site.root().join(path.trim_start_matches('/'));
    let is_page = folder.join("index.html").is_file();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let way = HeaderValue::from_str(&format!("./{name}/{query}")).ok()?;
    is_page.then(|| (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, way)]).into_response())
}

async fn find(site: &Site, mut request: Request, path: &str, may_be_part: bool) -> Response {
    let headers = request.headers_mut();
    // All files of an artifact are of one time: who asks by it would be told that a changed file is the old one.
    for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, IF_NONE_MATCH] {
        headers.remove(name);
    }
    if !may_be_part {
        headers.remove(RANGE);
    }
    if path.ends_with('/')
        && let Ok(page) = format!("{path}index.html").parse()
    {
        *request.uri_mut() = page;
    }
    let folder = ServeDir::new(site.root()).append_index_html_on_directories(false);
    sent(folder.precompressed_br().precompressed_gzip(), request).await
}

/// Reads one file as it is.
async fn whole(page: &Path) -> Response {
    let (Some(folder), Some(name)) = (page.parent(), page.file_name().and_then(|name| name.to_str())) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let request = Request::builder().uri(format!("/{name}")).body(Body::empty());
    match request {
        Ok(request) => sent(ServeDir::new(folder), request).await,
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn sent(mut folder: ServeDir, request: Request) -> Response {
    match folder.try_call(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) if is_missing(&error) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            eprintln!("a file cannot be read: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Tells whether there is no such file, and no file could be of such a name.
fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename | InvalidInput | PermissionDenied)
}

async fn not_found(site: &Site) -> Response {
    let page: PathBuf = site.root().join(NOT_FOUND_PAGE);
    let mut response = whole(&page).await;
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().remove(LAST_MODIFIED);
    }
    guarded(response)
}

/// Says of a file how long it may be kept and what it is known by, and does not send what the client has.
fn finished(site: &Site, asked: &Asked, path: &str, mut response: Response) -> Response {
    let has_file = matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    if !has_file {
        return guarded(response);
    }
    let tag = tag_of(&site.tag, response.headers());
    let kept = if site.is_immutable(path) { FOR_EVER } else { ASK_AGAIN };
    let headers = response.headers_mut();
    headers.remove(LAST_MODIFIED);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(ETAG, tag.clone());
    let has_it = asked.if_none_match.as_ref().is_some_and(|asked| names(asked, &tag));
    if has_it && response.status() == StatusCode::OK {
        return unchanged(&response);
    }
    guarded(response)
}

/// Answers that the client has it: with what it would have learned beside the content.
fn unchanged(response: &Response) -> Response {
    let mut answer = StatusCode::NOT_MODIFIED.into_response();
    for name in [CACHE_CONTROL, VARY, ETAG] {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn guarded(mut response: Response) -> Response {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The tag of a file: packed in another way it is another answer.
fn tag_of(tag: &str, headers: &HeaderMap) -> HeaderValue {
    let packed = headers.get(CONTENT_ENCODING).and_then(|packed| packed.to_str().ok());
    let packed = packed.map(|packed| format!("-{packed}")).unwrap_or_default();
    HeaderValue::from_str(&format!("\"{tag}{packed}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Tells whether `If-None-Match` names a tag; weak or not is all one there (RFC 9110, 13.1.2).
fn names(asked: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(asked), Ok(tag)) = (asked.to_str(), tag.to_str()) else { return false };
    asked.trim() == "*" || asked.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

/// Tells whether the tag of `If-Range` is one of these files, packed in whatever way: which one, the answer to the request decides.
fn is_ours(asked: &str, tag: &str) -> bool {
    asked.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).is_some_and(|it| it == tag)
}

#[cfg(test)]
mod tests;
