//! Metrics for whoever collects them.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use lockstep_api::types::{ScrapeTarget, ScrapeToken};
use lockstep_domain::metrics_text::{OPEN_METRICS, PROMETHEUS_TEXT, open_metrics, wants_open_metrics};
use lockstep_domain::{EnvironmentName, ServiceName};
use serde::Deserialize;

use crate::answer::{Answer, Asked, Json};
use crate::handlers::App;

pub(crate) async fn metrics(State(control): App, headers: HeaderMap) -> Response {
    let text = control.metrics().await;
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if wants_open_metrics(accepted) {
        return ([(CONTENT_TYPE, OPEN_METRICS)], open_metrics(&text)).into_response();
    }
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response()
}

/// Which targets are asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Of {
    environment: Option<EnvironmentName>,
    service: Option<ServiceName>,
}

pub(crate) async fn targets(State(control): App, Asked(of): Asked<Of>) -> Answer<Vec<ScrapeTarget>> {
    Ok(Json(control.scrape_targets(of.environment.as_ref(), of.service.as_ref())?))
}

pub(crate) async fn token(State(control): App) -> Json<ScrapeToken> {
    Json(control.scrape_token_view())
}
