//! The admin side's ways in and out: `/admin/events`, backup, export and import of a conversation. What they
//! share: the store's [`Transfers`], the bell that says that the log went on, and how many may run.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::ports::Shards;
use super::{HttpBounds, HttpPorts, admin_backup, admin_events, admin_export, admin_import};
use crate::limits::EXPORTS_MAX;
use crate::store::Transfers;

/// Reads of the log that wait for each other: they share one reader.
const EVENT_READS: usize = 1;

pub struct Ways {
    pub transfers: Transfers,
    pub shards: Arc<dyn Shards>,
    pub bounds: HttpBounds,
    pub reads: Semaphore,
    pub exports: Arc<Semaphore>,
    /// One backup at a time: the store holds still for it.
    pub backups: Arc<Semaphore>,
    /// One import at a time, until pages have it: the next one's ids are checked against it.
    pub imports: Arc<Semaphore>,
    bell: Arc<Notify>,
}

impl Ways {
    pub fn new(ports: &HttpPorts, bounds: HttpBounds) -> Ways {
        let bell = Arc::new(Notify::new());
        let rung = bell.clone();
        ports.transfers.set_bell(move || rung.notify_waiters());
        Ways {
            transfers: ports.transfers.clone(),
            shards: ports.shards.clone(),
            bounds,
            reads: Semaphore::new(EVENT_READS),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            backups: Arc::new(Semaphore::new(1)),
            imports: Arc::new(Semaphore::new(1)),
            bell,
        }
    }

    /// Looks again whenever the log went on, until there is something or time is up.
    pub async fn until<T>(
        &self,
        deadline: Instant,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let _waiting = self.transfers.wait();
        loop {
            let mut rung = std::pin::pin!(self.bell.notified());
            rung.as_mut().enable();
            if let Some(found) = look() {
                return Some(found);
            }
            if tokio::time::timeout_at(deadline, rung).await.is_err() {
                return look();
            }
        }
    }

    pub fn soon(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.bounds.timeout_ms)
    }
}

pub fn routes(ways: Ways) -> Router {
    let import = post(admin_import::import).get(admin_import::state);
    Router::new()
        .route("/admin/backup", get(admin_backup::backup))
        .route("/admin/events", get(admin_events::events))
        .route("/admin/conversations/{conversation}/export", get(admin_export::export))
        .route("/admin/conversations/{conversation}/import", import)
        .with_state(Arc::new(ways))
}
