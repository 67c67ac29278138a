//! What `/metrics` shows: the counters of all threads, and what is only read when somebody asks.

use std::sync::Arc;

use crate::http::{self, HttpCounts};
use crate::store::{Running, SizeHandle};
use crate::telemetry::Counters;
use crate::telemetry::exposition::{self, Kind, Reading};
use crate::telemetry::logs::{Logs, LostLines};
use crate::telemetry::process;

pub struct Metrics {
    counters: Counters,
    sizes: SizeHandle,
    lost_lines: LostLines,
    health: Arc<dyn http::Health>,
}

fn reading(name: &'static str, help: &'static str, kind: Kind, value: f64) -> Reading {
    Reading { name, help, kind, label: None, value }
}

impl http::Metrics for Metrics {
    fn exposition(&self, http: HttpCounts) -> String {
        let mut readings = build();
        readings.extend(process::readings());
        readings.extend(self.store());
        readings.extend(self.vitals());
        readings.extend(requests(http));
        let lost = self.lost_lines.count() as f64;
        let help = "Lines of the log that were dropped because its reader was too slow.";
        readings.push(reading("loquat_log_lines_lost", help, Kind::Counter, lost));
        exposition::text(&self.counters, readings)
    }
}

fn build() -> Vec<Reading> {
    vec![Reading {
        name: "loquat_build_info",
        help: "1, with the version of the server.",
        kind: Kind::Gauge,
        label: Some(("version", env!("CARGO_PKG_VERSION").to_owned())),
        value: 1.0,
    }]
}

/// By what became of them. Those of health and of the demo page are among the answered ones.
fn requests(http: HttpCounts) -> Vec<Reading> {
    let HttpCounts { taken, refused, timed_out, unauthorized } = http;
    let outcomes = [
        ("taken", taken),
        ("refused", refused),
        ("timed_out", timed_out),
        ("unauthorized", unauthorized),
    ];
    outcomes
        .map(|(outcome, count)| Reading {
            name: "loquat_http_requests",
            help: "Plain requests of the public port; unauthorized are those of the admin port.",
            kind: Kind::Counter,
            label: Some(("outcome", outcome.to_owned())),
            value: count as f64,
        })
        .into()
}

impl Metrics {
    pub fn new(
        counters: Counters,
        store: &Running,
        logs: &Logs,
        health: Arc<dyn http::Health>,
    ) -> Metrics {
        Metrics { counters, sizes: store.size_handle(), lost_lines: logs.lost_lines(), health }
    }

    fn store(&self) -> Vec<Reading> {
        let sizes = match self.sizes.sizes() {
            Ok(sizes) => sizes,
            Err(error) => {
                tracing::warn!(%error, "the sizes of the store cannot be read");
                return Vec::new();
            }
        };
        let gauge = |name, help, value: f64| reading(name, help, Kind::Gauge, value);
        vec![
            gauge("loquat_pages_bytes", "What sled takes on the disk.", sizes.pages_bytes as f64),
            gauge(
                "loquat_journal_bytes",
                "What the segments of the journal take on the disk.",
                sizes.journal_bytes as f64,
            ),
            gauge("loquat_journal_segments", "Segments of the journal.", sizes.segments as f64),
        ]
    }

    fn vitals(&self) -> Vec<Reading> {
        let vitals = self.health.vitals();
        let help = "How long ago the slowest reactor finished a turn.";
        let quiet_s = vitals.oldest_turn_ms as f64 / 1_000.0;
        let draining = if vitals.is_draining { 1.0 } else { 0.0 };
        vec![
            reading("loquat_oldest_turn_seconds", help, Kind::Gauge, quiet_s),
            reading("loquat_draining", "1 once the server stops.", Kind::Gauge, draining),
        ]
    }
}
