//! Handlers of certificates: parse, one call, convert.

use axum::extract::State;
use lockstep_api::types::{
    AddCertificate, CertificateBundle, CertificateList, RequestCertificate, VisitKeys,
};
use lockstep_api::{ErrorCode, Problem};
use lockstep_control::Taking;
use lockstep_domain::{CertificateName, Digest, EnvironmentName};
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::answer::{Answer, At, Body, By, Failure, For, Json};
use crate::handlers::App;

pub(crate) async fn list(
    State(control): App,
    At(environment): At<EnvironmentName>,
) -> Answer<CertificateList> {
    Ok(Json(control.certificates(&environment)?))
}

pub(crate) async fn add(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<AddCertificate>,
) -> Answer<CertificateList> {
    Ok(Json(control.add_certificate(&actor, &environment, &body, Taking::Add)?))
}

pub(crate) async fn replace(
    State(control): App,
    By(actor): By,
    At((environment, name)): At<(EnvironmentName, CertificateName)>,
    Body(body): Body<AddCertificate>,
) -> Answer<CertificateList> {
    let body = AddCertificate { name: Some(name), ..body };
    Ok(Json(control.add_certificate(&actor, &environment, &body, Taking::Replace)?))
}

pub(crate) async fn request(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<RequestCertificate>,
) -> Answer<CertificateList> {
    Ok(Json(control.request_certificate(&actor, &environment, body).await?))
}

pub(crate) async fn renew(
    State(control): App,
    By(actor): By,
    At((environment, name)): At<(EnvironmentName, CertificateName)>,
    Body(_): Body<Map<String, Value>>,
) -> Answer<CertificateList> {
    Ok(Json(control.renew_certificate(&actor, &environment, &name)?))
}

pub(crate) async fn remove(
    State(control): App,
    By(actor): By,
    At((environment, name)): At<(EnvironmentName, CertificateName)>,
    Body(_): Body<Map<String, Value>>,
) -> Answer<CertificateList> {
    Ok(Json(control.remove_certificate(&actor, &environment, &name)?))
}

/// Gives a gateway of its own a certificate with its key, and nobody else.
pub(crate) async fn of_gateway(
    State(control): App,
    For(caller): For,
    At((environment, digest)): At<(EnvironmentName, Digest)>,
) -> Answer<CertificateBundle> {
    let Caller::Gateway(gateway) = caller else {
        let detail = "a certificate with its key is given with the key of a gateway only";
        return Err(Failure(Problem::new(ErrorCode::Unauthorized, detail)));
    };
    Ok(Json(control.certificate_for(&gateway, &environment, &digest)?))
}

/// Gives a gateway of its own the keys that visits are signed with, and nobody else.
pub(crate) async fn visit_keys(
    State(control): App,
    For(caller): For,
    At(environment): At<EnvironmentName>,
) -> Answer<VisitKeys> {
    let Caller::Gateway(gateway) = caller else {
        let detail = "the keys of visits are given with the key of a gateway only";
        return Err(Failure(Problem::new(ErrorCode::Unauthorized, detail)));
    };
    Ok(Json(control.visit_keys_for(&gateway, &environment)?))
}
