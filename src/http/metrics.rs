//! `GET /metrics` on the admin port, behind the admin token: what operators watch, in the text format of
//! Prometheus. The figures are read when somebody asks, on a blocking thread.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::admin::Admin;
use super::failure::Failure;
use crate::telemetry::exposition::CONTENT_TYPE;

pub async fn show(State(admin): State<Arc<Admin>>) -> Response {
    let (metrics, http) = (admin.metrics.clone(), admin.counters.snapshot());
    let work = tokio::task::spawn_blocking(move || metrics.exposition(http));
    match tokio::time::timeout(admin.bounds.timeout(), work).await {
        Ok(Ok(text)) => {
            let headers =
                [(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
            (headers, text).into_response()
        }
        outcome => {
            tracing::error!(is_late = outcome.is_err(), "the metrics could not be read");
            Failure::unavailable("overload", "the metrics could not be read").into_response()
        }
    }
}
