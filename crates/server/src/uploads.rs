//! Takes files as they come, and never more than is allowed of one.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use lockstep_api::types::{MAX_UPLOAD_BYTES, Upload};
use lockstep_api::{ErrorCode, FILE_MEDIA_TYPE, Problem};

use crate::answer::{Answer, By, Failure, Json, bad_request};
use crate::handlers::App;

/// How long a client may send nothing of a file.
const SILENCE: Duration = Duration::from_secs(60);

/// Receives a file. What cannot be kept is read to its end all the same: a client that still sends hears no answer.
pub(crate) async fn upload(State(control): App, By(_): By, request: Request) -> Answer<Upload> {
    check(&request)?;
    let mut receiving = control.receive_upload();
    let mut body = request.into_body();
    let mut bytes = 0_u64;
    while let Some(piece) = next(&mut body).await? {
        bytes = bytes.saturating_add(piece.len() as u64);
        if bytes > MAX_UPLOAD_BYTES {
            return Err(too_large());
        }
        if let Ok(kept) = &mut receiving
            && let Err(problem) = tokio::task::block_in_place(|| kept.write(&piece))
        {
            // It goes at once, and leaves its room to others.
            receiving = Err(problem);
        }
    }
    Ok(Json(receiving?.keep()?))
}

/// Looks at what is announced before anything is read.
fn check(request: &Request) -> Result<(), Failure> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if !text(CONTENT_TYPE).is_some_and(|kind| kind.eq_ignore_ascii_case(FILE_MEDIA_TYPE)) {
        let detail = format!("a file is taken as `content-type: {FILE_MEDIA_TYPE}`");
        return Err(Failure(Problem::new(ErrorCode::UnsupportedMedia, detail)));
    }
    let announced = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > MAX_UPLOAD_BYTES) { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> Failure {
    Failure(Problem::new(ErrorCode::TooLarge, format!("the file has more than {MAX_UPLOAD_BYTES} bytes")))
}

/// Waits for the next piece; `None` at the proper end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Failure> {
    let frame = tokio::time::timeout(SILENCE, body.frame()).await;
    let frame = frame
        .map_err(|_| bad_request(format!("nothing of the file came for {} seconds", SILENCE.as_secs())))?;
    let Some(frame) = frame else { return Ok(None) };
    let frame = frame.map_err(|error| bad_request(format!("the file was cut off: {error}")))?;
    // Trailers are no part of the file.
    Ok(Some(frame.into_data().unwrap_or_default()))
}
