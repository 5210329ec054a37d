//! One answer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, IF_MATCH,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
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
    let (request, _) = request.into_parts();
    let path = request.uri.path();
    if is_hidden(path) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let file = find(&site, &request, path, None).await;
    if file.status() != StatusCode::NOT_FOUND {
        return conditional(&site, &request, finished(&site, path, file)).await;
    }
    if let Some(redirect) = to_folder(&site, &request).await {
        return redirect;
    }
    match site.fallback().filter(|_| wants_page(&request)) {
        Some(page) => {
            let mut page = finished(&site, "", whole(&page).await);
            page.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
            conditional(&site, &request, page).await
        }
        None => not_found(&site).await,
    }
}

fn wants_page(request: &Parts) -> bool {
    let accepts = text(request, ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    accepts && [Method::GET, Method::HEAD].contains(&request.method)
}

fn text(request: &Parts, name: HeaderName) -> Option<&str> {
    request.headers.get(name)?.to_str().ok()
}

/// Does what is asked beside the path with the answer that it would be otherwise, in the order of RFC 9110, 13.2.2.
async fn conditional(site: &Site, request: &Parts, answer: Response) -> Response {
    let Some(tag) = answer.headers().get(ETAG).filter(|_| answer.status() == StatusCode::OK) else {
        return answer;
    };
    let asked = |name| request.headers.get(name);
    if asked(IF_MATCH).is_some_and(|asked| !names(asked, tag)) {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    if asked(IF_NONE_MATCH).is_some_and(|asked| names(asked, tag)) {
        return unchanged(&request.method, &answer);
    }
    // A part of another file than the one that somebody has begun to read would spoil it.
    let is_begun = asked(IF_RANGE).is_none_or(|asked| asked == tag);
    match asked(RANGE).filter(|range| is_begun && is_one_part(range)) {
        Some(range) if answer.headers().contains_key(ACCEPT_RANGES) => {
            let path = request.uri.path();
            finished(site, path, find(site, request, path, Some(range)).await)
        }
        _ => answer,
    }
}

/// Several parts at once are answered with the whole, as they may be (RFC 9110, 14.2), and units that nobody knows, as they must be.
fn is_one_part(range: &HeaderValue) -> bool {
    range.to_str().is_ok_and(|range| range.starts_with("bytes=") && !range.contains(','))
}

/// Tells whether a name begins with a dot anywhere: nobody means to publish those, but for `.well-known`.
fn is_hidden(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    path.split('/').any(|part| part.starts_with('.') && part != ".well-known")
}

/// Leads from the name of a folder to the folder, so that what is relative in its page is found. The way is a relative one, because a route
/// may have taken a prefix away.
async fn to_folder(site: &Site, request: &Parts) -> Option<Response> {
    let uri = &request.uri;
    let name = uri.path().rsplit('/').next().filter(|name| !name.is_empty())?;
    let page = find(site, request, &format!("{}/", uri.path()), None).await;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let way = HeaderValue::from_str(&format!("./{name}/{query}")).ok()?;
    (page.status() == StatusCode::OK)
        .then(|| (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, way)]).into_response())
}

/// Finds a file, or the page of a folder. All files of an artifact are of one time: who asks by it would be told that a changed file is the
/// old one, so nothing of what was asked goes on but how it may be packed, and the part.
async fn find(site: &Site, request: &Parts, path: &str, range: Option<&HeaderValue>) -> Response {
    let page = if path.ends_with('/') { "index.html" } else { "" };
    let mut inner = Request::new(Body::empty());
    *inner.method_mut() = request.method.clone();
    match format!("{path}{page}").parse() {
        Ok(uri) => *inner.uri_mut() = uri,
        Err(_) => return StatusCode::NOT_FOUND.into_response(),
    }
    for packed in request.headers.get_all(ACCEPT_ENCODING) {
        inner.headers_mut().append(ACCEPT_ENCODING, packed.clone());
    }
    if let Some(range) = range {
        inner.headers_mut().insert(RANGE, range.clone());
    }
    let folder = ServeDir::new(site.root()).append_index_html_on_directories(false);
    sent(folder.precompressed_br().precompressed_gzip(), inner).await
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

/// Says of a file how long it may be kept and what it is known by.
fn finished(site: &Site, path: &str, mut response: Response) -> Response {
    let tag = tag_of(&site.tag, response.headers());
    let has_file = matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    let headers = response.headers_mut();
    headers.remove(LAST_MODIFIED);
    headers.remove(ETAG);
    if has_file {
        let kept = if site.is_immutable(path) { FOR_EVER } else { ASK_AGAIN };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(ETAG, tag);
    }
    guarded(response)
}

/// Answers that the client has it: with what it would have learned beside the content.
fn unchanged(method: &Method, response: &Response) -> Response {
    let mut answer = StatusCode::NOT_MODIFIED.into_response();
    // Where the length is said at all, it is that of the content.
    let length = (*method == Method::HEAD).then_some(CONTENT_LENGTH);
    for name in [CACHE_CONTROL, VARY, ETAG].into_iter().chain(length) {
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

/// Tells whether `If-None-Match` or `If-Match` names a tag. Weak or not is all one there: what is the same here is the same in every byte.
fn names(asked: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(asked), Ok(tag)) = (asked.to_str(), tag.to_str()) else { return false };
    asked.trim() == "*" || asked.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests;
