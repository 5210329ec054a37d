//! The router: every endpoint of `lockstep_api::endpoints`, metrics at their usual path, and nothing else.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use lockstep_api::{ErrorCode, MAX_REQUEST_BYTES, PREFIX, Problem};
use lockstep_control::Control;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, guard};
use crate::answer::Failure;
use crate::watch::AppState;
use crate::{
    alerts, certificates, compat, events, faults, handlers, hosts, lanes, lines, maintenance, metrics,
    resources, uploads, version_rules, watch,
};

/// Where every tool looks for metrics first.
pub(crate) const METRICS: &str = "/metrics";

/// Makes the whole application.
pub(crate) fn router(control: Arc<Control>, access: Access, stop: CancellationToken) -> Router {
    let routes = table().into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method));
    Router::new()
        .nest(PREFIX, routes)
        .route(METRICS, get(metrics::metrics))
        .fallback(|| async { problem(ErrorCode::NotFound, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            problem(ErrorCode::MethodNotAllowed, "GET looks, POST changes")
        })
        .layer(from_fn_with_state((access, Arc::clone(&control)), guard))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(AppState { control, stop })
}

fn problem(code: ErrorCode, detail: &str) -> Response {
    Failure(Problem::new(code, detail).with_hint("GET /api/v1/openapi.json describes every endpoint"))
        .into_response()
}

fn table() -> Vec<(&'static str, MethodRouter<AppState>)> {
    vec![
        ("/health", get(handlers::health)),
        ("/openapi.json", get(handlers::openapi)),
        ("/services", get(handlers::services).post(handlers::register)),
        ("/uploads", post(uploads::upload).layer(DefaultBodyLimit::disable())),
        ("/services/{service}", get(handlers::service)),
        ("/services/{service}/releases", post(handlers::release)),
        ("/services/{service}/versions/{version}", get(handlers::version)),
        ("/services/{service}/versions/{version}/documents/{kind}", get(handlers::document)),
        ("/services/{service}/versions/{version}/contracts/{kind}", get(compat::contract)),
        ("/services/{service}/compat/{other}", get(compat::compat)),
        ("/services/{service}/versions/{version}/stage", post(handlers::stage)),
        ("/services/{service}/versions/{version}/approvals", post(handlers::approve)),
        ("/builds", get(handlers::builds)),
        ("/builds/{build}", get(handlers::build)),
        ("/builds/{build}/cancel", post(handlers::cancel_build)),
        ("/builds/{build}/log", get(lines::build_log)),
        ("/builds/{build}/events", get(watch::build)),
        ("/environments", get(handlers::environments).post(handlers::create_environment)),
        ("/environments/{environment}", get(handlers::environment)),
        ("/environments/{environment}/settings", post(handlers::change_environment)),
        ("/environments/{environment}/can-deploy/{service}/{version}", get(compat::can_deploy)),
        ("/environments/{environment}/can-roll-back/{service}", get(compat::can_roll_back)),
        ("/environments/{environment}/traffic/{service}", get(handlers::traffic)),
        ("/environments/{environment}/jobs/{service}/{job}/runs", get(handlers::scheduled_runs)),
        ("/environments/{environment}/history", get(handlers::history)),
        ("/environments/{environment}/remove", post(handlers::remove_environment)),
        ("/services/{service}/remove", post(handlers::remove_service)),
        ("/services/{service}/manifest", get(handlers::manifest).post(handlers::keep_manifest)),
        ("/services/{service}/rename", post(handlers::rename_service)),
        ("/environments/{environment}/ways-back", get(handlers::ways_back)),
        ("/environments/{environment}/calls", get(handlers::calls)),
        ("/environments/{environment}/readiness", get(handlers::readiness)),
        ("/environments/{environment}/readiness/events", get(watch::readiness)),
        ("/environments/{environment}/fleet", get(handlers::fleet)),
        ("/environments/{environment}/diff", get(handlers::diff)),
        ("/environments/{environment}/configurations/{service}/revocations", post(handlers::revoke)),
        ("/environments/{environment}/configurations/{service}", get(handlers::configuration)),
        ("/environments/{environment}/version-rules", get(version_rules::list).post(version_rules::add)),
        ("/environments/{environment}/version-rules/remove", post(version_rules::remove)),
        ("/environments/{environment}/lanes", get(lanes::list).post(lanes::create)),
        ("/environments/{environment}/lanes/{lane}", get(lanes::show)),
        ("/environments/{environment}/lanes/{lane}/end", post(lanes::end)),
        ("/environments/{environment}/maintenance", get(maintenance::list).post(maintenance::add)),
        ("/environments/{environment}/maintenance/remove", post(maintenance::remove)),
        ("/environments/{environment}/faults", get(faults::list).post(faults::add)),
        ("/environments/{environment}/faults/remove", post(faults::remove)),
        ("/environments/{environment}/mirrors", get(version_rules::mirrors)),
        ("/environments/{environment}/resources", get(resources::list).post(resources::add)),
        ("/environments/{environment}/resources/run", post(resources::run)),
        ("/environments/{environment}/resources/{resource}", get(resources::show).post(resources::change)),
        ("/environments/{environment}/resources/{resource}/remove", post(resources::remove)),
        ("/environments/{environment}/operations", post(handlers::operate)),
        ("/environments/{environment}/holds/{service}/{version}/release", post(handlers::release_hold)),
        ("/environments/{environment}/logs", get(lines::logs)),
        ("/environments/{environment}/routes", get(handlers::routes)),
        ("/environments/{environment}/routes/planned", post(handlers::routes_after)),
        ("/environments/{environment}/gateway-receipts", post(handlers::receipt)),
        ("/environments/{environment}/certificates", get(certificates::list).post(certificates::add)),
        ("/environments/{environment}/certificates/request", post(certificates::request)),
        ("/environments/{environment}/certificates/{certificate}/renew", post(certificates::renew)),
        ("/environments/{environment}/certificates/{certificate}/replace", post(certificates::replace)),
        ("/environments/{environment}/certificates/{certificate}/remove", post(certificates::remove)),
        ("/environments/{environment}/gateway-certificates/{digest}", get(certificates::of_gateway)),
        ("/environments/{environment}/gateway-visit-keys", get(certificates::visit_keys)),
        ("/gateways", get(handlers::gateways).post(handlers::add_gateway)),
        ("/gateways/{gateway}/remove", post(handlers::remove_gateway)),
        ("/hosts", get(hosts::list).post(hosts::add)),
        ("/hosts/{host}", get(hosts::show)),
        ("/hosts/{host}/change", post(hosts::change)),
        ("/hosts/{host}/turn", post(hosts::turn)),
        ("/hosts/{host}/check", post(hosts::check)),
        ("/hosts/{host}/take-over", post(hosts::take_over)),
        ("/hosts/{host}/remove", post(hosts::remove)),
        ("/environments/{environment}/prefetch", get(hosts::prefetched).post(hosts::prefetch)),
        ("/environments/{environment}/instances/{instance}/stop", post(handlers::stop_instance)),
        ("/environments/{environment}/instances/{instance}/log", get(lines::instance_log)),
        ("/notify/targets", get(alerts::targets).post(alerts::set_target)),
        ("/notify/targets/{target}/remove", post(alerts::remove_target)),
        ("/notify/targets/{target}/test", post(alerts::test_target)),
        ("/silences", get(alerts::silences).post(alerts::add_silence)),
        ("/silences/{silence}/end", post(alerts::end_silence)),
        ("/alerts", get(alerts::list)),
        ("/rules", get(alerts::rules).post(alerts::set_rules)),
        ("/rules/{rule}/remove", post(alerts::remove_rule)),
        ("/environments/{environment}/delivery", get(metrics::delivery)),
        ("/environments/{environment}/charts/{service}", get(metrics::charts)),
        ("/environments/{environment}/checks", get(metrics::checks)),
        ("/environments/{environment}/blame/{service}", get(alerts::blame)),
        ("/events", get(events::list)),
        ("/events/live", get(events::live)),
        ("/operations", get(handlers::operations)),
        ("/operations/{operation}", get(handlers::operation)),
        ("/operations/{operation}/accept", post(handlers::accept)),
        ("/operations/{operation}/events", get(watch::operation)),
        ("/journal/verify", get(handlers::verify_journal)),
        ("/journal/export", get(lines::export_journal)),
        ("/store/collect", post(handlers::collect)),
        ("/metrics", get(metrics::metrics)),
        ("/targets", get(metrics::targets)),
        ("/scrape-token", get(metrics::token)),
        ("/keys", get(handlers::keys)),
        ("/keys/callers/rotate", post(handlers::rotate_callers)),
        ("/data", get(handlers::data)),
        ("/data/remove", post(handlers::remove_data)),
        ("/lifecycles", get(handlers::lifecycles).post(handlers::define_lifecycle)),
        ("/branches", get(handlers::branches).post(handlers::define_branches)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lockstep_api::endpoints::endpoints;

    use super::*;

    #[test]
    fn the_router_serves_what_the_document_says() {
        let documented: BTreeSet<_> = endpoints().iter().map(|endpoint| endpoint.path).collect();
        let served: BTreeSet<_> = table().into_iter().map(|(path, _)| path).collect();
        assert_eq!(documented, served);
    }
}
