//! Metrics for whoever collects them.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use lockstep_api::types::{ChartsView, CheckView, DeliveryView, ScrapeTarget, ScrapeToken};
use lockstep_domain::metrics_text::{OPEN_METRICS, PROMETHEUS_TEXT, open_metrics, wants_open_metrics};
use lockstep_domain::{EnvironmentName, ServiceName};
use serde::Deserialize;

use tokio::task::block_in_place;

use crate::answer::{Answer, Asked, At, Json};
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

/// DORA's figures are of the last 90 days where nobody says of which: a quarter is what teams compare.
const NINETY_DAYS_MS: u64 = 90 * 24 * 60 * 60 * 1_000;

/// Of what figures are asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Delivered {
    service: Option<ServiceName>,
    within_ms: Option<u64>,
}

pub(crate) async fn delivery(
    State(control): App,
    At(environment): At<EnvironmentName>,
    Asked(of): Asked<Delivered>,
) -> Answer<DeliveryView> {
    let within_ms = of.within_ms.unwrap_or(NINETY_DAYS_MS);
    Ok(Json(block_in_place(|| control.delivery(&environment, of.service.as_ref(), within_ms))?))
}

/// Which curves are asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Charted {
    figure: Option<String>,
    within_ms: Option<u64>,
    points: Option<usize>,
}

pub(crate) async fn checks(
    State(control): App,
    At(environment): At<EnvironmentName>,
) -> Answer<Vec<CheckView>> {
    Ok(Json(control.checks(&environment)?))
}

/// Charts are of the last hour where nobody says of which time.
const AN_HOUR_MS: u64 = 60 * 60 * 1_000;

pub(crate) async fn charts(
    State(control): App,
    At((environment, service)): At<(EnvironmentName, ServiceName)>,
    Asked(of): Asked<Charted>,
) -> Answer<ChartsView> {
    let figures: Vec<String> = of.figure.into_iter().collect();
    let within_ms = of.within_ms.unwrap_or(AN_HOUR_MS);
    Ok(Json(control.charts(&environment, &service, &figures, within_ms, of.points).await?))
}
