//! Plans and reasons over HTTP, for `heliotrope plan` and `heliotrope explain`.

use crate::controller::plans::Plans;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::sync::Arc;

const NOTHING_YET: &str =
    "nothing was planned here yet: another controller leads, or this one has not looked at everything";

/// Where they are served.
pub fn routes(plans: Arc<Plans>) -> Router {
    Router::new()
        .route("/plans", get(all))
        .route("/plans/latest", get(latest))
        .route("/plans/dry-run", get(dry_run))
        .route("/plans/{generation}", get(one))
        .route("/explain/{namespace}/{name}", get(explain))
        .with_state(plans)
}

fn answer<T: Serialize>(found: Option<T>, code: StatusCode, why: &str) -> Response {
    found.map_or_else(|| (code, why.to_owned()).into_response(), |found| Json(found).into_response())
}

async fn all(State(plans): State<Arc<Plans>>) -> Response {
    Json(plans.all()).into_response()
}

async fn latest(State(plans): State<Arc<Plans>>) -> Response {
    answer(plans.all().pop(), StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET)
}

async fn one(State(plans): State<Arc<Plans>>, Path(generation): Path<u64>) -> Response {
    let all = plans.all();
    let has: Vec<String> = all.iter().map(|plan| plan.generation.to_string()).collect();
    let why = format!("no plan of generation {generation} is kept: there are {}", has.join(", "));
    answer(all.into_iter().rfind(|plan| plan.generation == generation), StatusCode::NOT_FOUND, &why)
}

async fn dry_run(State(plans): State<Arc<Plans>>) -> Response {
    // a plan for thousands takes a second of one core
    let made = tokio::task::spawn_blocking(move || plans.dry_run()).await;
    answer(made.ok().flatten(), StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET)
}

async fn explain(State(plans): State<Arc<Plans>>, Path((namespace, name)): Path<(String, String)>) -> Response {
    let workload = format!("{namespace}/{name}");
    if plans.is_empty() {
        return answer::<()>(None, StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET);
    }
    let why = format!("no managed Job {workload}: is its name right, and does it or its namespace have the label?");
    answer(plans.explain(&workload), StatusCode::NOT_FOUND, &why)
}
