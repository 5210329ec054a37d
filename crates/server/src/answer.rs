//! Answers: JSON, problems, and bodies that are read with problems of our own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockstep_api::problem::PROBLEM_MEDIA_TYPE;
use lockstep_api::{ErrorCode, Problem};
use lockstep_control::Control;
use lockstep_domain::Actor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::Caller;
use crate::named::Named;

/// Longest time from the head of a request to the end of its body: the largest one over a slow line takes that long.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Tells a proxy before this server (nginx knows the word) to pass on what comes as it comes.
pub(crate) const UNBUFFERED: [(&str, &str); 1] = [("x-accel-buffering", "no")];

/// What a handler returns.
pub(crate) type Answer<T> = Result<Json<T>, Failure>;

/// A JSON document.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => Failure(Problem::new(ErrorCode::Internal, error.to_string())).into_response(),
        }
    }
}

/// A problem as an answer.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_MEDIA_TYPE)], body).into_response();
        if is_about_access(self.0.code) {
            response.extensions_mut().insert(Refused(Arc::new(self.0)));
        }
        response
    }
}

/// Goes with the answer to a request that was not allowed, so that one place tells of all of them.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) Arc<Problem>);

const fn is_about_access(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unauthorized | ErrorCode::Forbidden | ErrorCode::UnsupportedMedia)
}

/// Makes a problem of a request that is not understood.
pub(crate) fn bad_request(error: impl std::fmt::Display) -> Failure {
    Failure(Problem::new(ErrorCode::BadRequest, error.to_string()))
}

/// A file as the answer; nothing may take it for a page.
pub(crate) fn file(bytes: Vec<u8>) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, bytes).into_response()
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let bytes = bytes.map_err(|_| {
            bad_request(format!("the body did not arrive within {} seconds", BODY_TIMEOUT.as_secs()))
        })?;
        let bytes = bytes.map_err(|rejection| {
            let code = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
                _ => ErrorCode::BadRequest,
            };
            Failure(Problem::new(code, rejection.body_text()))
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| bad_request(format!("the body: {error}")))
    }
}

/// Parameters of the path. Services go by their present names, whatever they were asked for by.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send + Named> FromRequestParts<S> for At<T>
where
    Arc<Control>: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(value) =
            Path::<T>::from_request_parts(parts, state).await.map_err(|e| bad_request(e.body_text()))?;
        Ok(Self(value.named_now(&Arc::<Control>::from_ref(state).ledger().world())))
    }
}

/// Parameters of the query.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Query(value) =
            Query::from_request_parts(parts, state).await.map_err(|e| bad_request(e.body_text()))?;
        Ok(Self(value))
    }
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct By(pub(crate) Actor);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        match parts.extensions.get::<Caller>() {
            Some(Caller::Operator(actor)) => Ok(Self(actor.clone())),
            Some(Caller::Gateway(gateway)) => {
                let detail = format!("gateway `{gateway}` changes nothing");
                Err(Failure(Problem::new(ErrorCode::Forbidden, detail)))
            }
            Some(Caller::Scraper) => {
                Err(Failure(Problem::new(ErrorCode::Forbidden, "who reads metrics changes nothing")))
            }
            None => Err(not_noted()),
        }
    }
}

/// For whom is asked, where a gateway may ask too.
#[derive(Debug)]
pub(crate) struct For(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for For {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Caller>().cloned().map(Self).ok_or_else(not_noted)
    }
}

fn not_noted() -> Failure {
    Failure(Problem::new(ErrorCode::Internal, "the caller was not noted"))
}
