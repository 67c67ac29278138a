//! What a run has measured.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Percentiles, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    pub fn of(latency: &Histogram<u64>) -> Latency {
        let ms = |ns: u64| ns as f64 / 1e6;
        Latency {
            p50_ms: ms(latency.value_at_quantile(0.5)),
            p99_ms: ms(latency.value_at_quantile(0.99)),
            p999_ms: ms(latency.value_at_quantile(0.999)),
            max_ms: ms(latency.max()),
        }
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
}

impl Reading {
    pub fn new(name: &'static str, unit: &'static str, value: f64) -> Reading {
        Reading { name, unit, value }
    }
}

/// A flood's figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    pub deliveries: u64,
    pub messages: u64,
    pub seconds: f64,
    /// The server's, all threads.
    pub cpu_ns: u64,
    pub own_bytes: u64,
    pub latency: Latency,
}

impl Outcome {
    fn cpu_us_per_delivery(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.deliveries.max(1) as f64
    }

    fn cpu_us_per_message(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.messages.max(1) as f64
    }

    /// Everything of a flood that is worth a line.
    pub fn readings(&self) -> Vec<Reading> {
        vec![
            Reading::new("CPU per delivery", "µs", self.cpu_us_per_delivery()),
            Reading::new("CPU per message", "µs", self.cpu_us_per_message()),
            Reading::new("deliveries", "/s", self.deliveries_per_second()),
            Reading::new("deliveries per core", "/s", self.deliveries_per_core_second()),
            Reading::new("messages", "/s", self.messages_per_second()),
            Reading::new("cores used", "", self.cores()),
            Reading::new("delivery p50", "ms", self.latency.p50_ms),
            Reading::new("delivery p99", "ms", self.latency.p99_ms),
            Reading::new("delivery p99.9", "ms", self.latency.p999_ms),
            Reading::new("own memory", "MiB", self.own_bytes as f64 / 1024.0 / 1024.0),
        ]
    }

    fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }

    pub fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Deliveries that one core could make in a second of its time.
    fn deliveries_per_core_second(&self) -> f64 {
        1e6 / self.cpu_us_per_delivery().max(1e-9)
    }

    /// How much of a core the server used.
    fn cores(&self) -> f64 {
        self.cpu_ns as f64 / 1e9 / self.seconds
    }
}
