//! The metrics as Prometheus reads them: text format 0.0.4, made anew at each scrape from the cores'
//! blocks and from what is only read then.
//!
//! One series per shard for what shards count. No name of a user or a conversation is ever a label:
//! every label's values are listed in `names`, or few by nature.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
    prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counters::{Counters, Snapshot};
use super::names::{Counter, Family, Gauge, Histogram, Place};

/// The content type of what [`text`] gives.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// A figure that is not counted by a core but read when somebody asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// A counter's name without `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub label: Option<(&'static str, String)>,
    pub value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// All metrics. Readings of one name stand together, as they are given.
pub fn text(counters: &Counters, readings: Vec<Reading>) -> String {
    let mut registry = Registry::default();
    let cores = (0..counters.cores()).map(|core| counters.of_core(core)).collect();
    let page = Page { cores, store: counters.of_store(), readings };
    registry.register_collector(Box::new(page));
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Page {
    cores: Vec<Snapshot>,
    store: Snapshot,
    readings: Vec<Reading>,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counters = Counter::ALL.chunk_by(|a, b| a.family() == b.family());
        for family in counters {
            let mut out = describe(&mut encoder, &family[0].family(), MetricType::Counter)?;
            for &counter in family {
                self.each(counter.family(), counter.value(), &mut out, |out, snapshot| {
                    out.encode_counter::<NoLabelSet, u64, u64>(&snapshot.counter(counter), None)
                })?;
            }
        }
        for family in Gauge::ALL.chunk_by(|a, b| a.family() == b.family()) {
            let mut out = describe(&mut encoder, &family[0].family(), MetricType::Gauge)?;
            for &gauge in family {
                self.each(gauge.family(), gauge.value(), &mut out, |out, snapshot| {
                    out.encode_gauge(&snapshot.gauge(gauge))
                })?;
            }
        }
        for &histogram in Histogram::ALL {
            let family = histogram.family();
            let mut out = describe(&mut encoder, &family, MetricType::Histogram)?;
            self.each(family, histogram.value(), &mut out, |out, snapshot| {
                spread(out, snapshot, histogram)
            })?;
        }
        self.read(&mut encoder)
    }
}

fn describe<'s>(
    encoder: &'s mut DescriptorEncoder<'_>,
    family: &Family,
    kind: MetricType,
) -> Result<MetricEncoder<'s>, fmt::Error> {
    encoder.encode_descriptor(family.name, family.help, None, kind)
}

impl Page {
    /// Writes one series for each writer that counts it.
    fn each(
        &self,
        family: Family,
        value: Option<&'static str>,
        out: &mut MetricEncoder<'_>,
        write: impl Fn(&mut MetricEncoder<'_>, &Snapshot) -> fmt::Result,
    ) -> fmt::Result {
        let own = family.label.zip(value);
        match family.place {
            Place::Store => {
                write(&mut out.encode_family(&Labels { own, shard: None })?, &self.store)
            }
            Place::Shard => self.cores.iter().enumerate().try_for_each(|(shard, snapshot)| {
                let labels = Labels { own, shard: Some(shard as u64) };
                write(&mut out.encode_family(&labels)?, snapshot)
            }),
        }
    }

    fn read(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for readings in self.readings.chunk_by(|a, b| a.name == b.name) {
            let Reading { name, help, kind, .. } = &readings[0];
            let metric = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut out = encoder.encode_descriptor(name, help, None, metric)?;
            for Reading { label, value, .. } in readings {
                let own = label.as_ref().map(|(name, value)| (*name, value.as_str()));
                let labels = Labels { own, shard: None };
                let mut out = out.encode_family(&labels)?;
                match kind {
                    Kind::Counter => out.encode_counter::<NoLabelSet, f64, u64>(value, None)?,
                    Kind::Gauge => out.encode_gauge(value)?,
                }
            }
        }
        Ok(())
    }
}

/// The count is taken from the buckets, so that the two agree whatever is measured meanwhile.
fn spread(out: &mut MetricEncoder<'_>, snapshot: &Snapshot, histogram: Histogram) -> fmt::Result {
    let per_unit = histogram.per_unit() as f64;
    let (counts, sum) = snapshot.histogram(histogram);
    let bounds = histogram.bounds().iter().map(|&bound| bound as f64 / per_unit);
    let bounds = bounds.chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
    let count = counts.iter().sum();
    out.encode_histogram::<NoLabelSet>(sum as f64 / per_unit, count, &buckets, None)
}

struct Labels<'l> {
    own: Option<(&'static str, &'l str)>,
    shard: Option<u64>,
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if let Some(shard) = self.shard {
            ("shard", shard).encode(encoder.encode_label())?;
        }
        if let Some(own) = self.own {
            own.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_gauges_histograms_and_readings_stand_in_the_text() {
        let (counters, writers) = Counters::new(2);
        writers.cores[0].add(Counter::InSend, 3);
        writers.cores[1].set(Gauge::Sockets, 4);
        for micros in [30, 1_500, 9_000_000] {
            writers.log.observe(Histogram::CommitMicros, micros);
        }
        let reading = |value: f64, of: &str| Reading {
            name: "loquat_example_bytes",
            help: "An example.",
            kind: Kind::Gauge,
            label: Some(("of", of.to_owned())),
            value,
        };
        let page = text(&counters, vec![reading(1.0, "a\"b"), reading(2.5, "c")]);
        let has = |line: &str| assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        has("# TYPE loquat_frames_in_total counter");
        has("loquat_frames_in_total{shard=\"0\",type=\"chat_message\"} 3");
        has("loquat_frames_in_total{shard=\"1\",type=\"chat_message\"} 0");
        has("# HELP loquat_sockets Sockets in conversations.");
        has("loquat_sockets{shard=\"1\"} 4");
        has("# TYPE loquat_commit_seconds histogram");
        has("loquat_commit_seconds_bucket{le=\"0.001\"} 1");
        has("loquat_commit_seconds_bucket{le=\"0.002\"} 2");
        has("loquat_commit_seconds_bucket{le=\"+Inf\"} 3");
        has("loquat_commit_seconds_count 3");
        has("loquat_commit_seconds_sum 9.00153");
        has("loquat_example_bytes{of=\"a\\\"b\"} 1.0");
        has("loquat_example_bytes{of=\"c\"} 2.5");
    }
}
