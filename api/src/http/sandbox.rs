//! The built-in sandbox's controls, for keys with the scope ADMIN and only where the configuration offers them: they make
//! the sandbox call URLs.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, web};
use domain::api_key::Scope;
use infrastructure::sandbox::ControlsAccess;
use infrastructure::sandbox::http::controls;

use super::{State, authenticate, refusal};
use crate::app::Gateway;
use crate::application::error::AppError;

pub fn configure(routes: &mut web::ServiceConfig, gateway: &Gateway) {
    if gateway.config.sandbox.controls {
        let sandbox = gateway.sandbox.sandbox.clone();
        let controls = controls(sandbox, ControlsAccess::Authorised);
        routes.service(controls.wrap(from_fn(admins_only)));
    }
}

async fn admins_only<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let state = request.app_data::<web::Data<State>>().cloned();
    let allowed = match &state {
        Some(state) => authenticate(request.request(), state)
            .await
            .and_then(|caller| caller.require(Scope::Admin).map(|()| caller))
            .and_then(|caller| match caller.is_limited() {
                true => Err(AppError::forbidden(
                    "the sandbox's controls are everybody's; use a key that is not limited",
                )),
                false => Ok(()),
            }),
        None => Err(AppError::not_found("page")),
    };
    match allowed {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => Ok(request.into_response(refusal(&error)).map_into_right_body()),
    }
}
