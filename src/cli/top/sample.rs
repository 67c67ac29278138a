//! One reading of a server's metrics: the lines of Prometheus' text that loquat itself writes. A line that is
//! not understood is passed over, so that a newer server can be looked at.

use std::collections::BTreeMap;

/// All samples by name, each with its labels as they stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// When it was taken, in seconds since any moment.
    pub at_s: f64,
    values: BTreeMap<String, Vec<(String, f64)>>,
}

impl Sample {
    pub fn parse(text: &str, at_s: f64) -> Sample {
        let mut sample = Sample { at_s, ..Sample::default() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse() else { continue };
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.trim_end_matches('}')),
                None => (series, ""),
            };
            sample.values.entry(name.to_owned()).or_default().push((labels.to_owned(), value));
        }
        sample
    }

    pub fn is_loquat(&self) -> bool {
        self.values.contains_key("loquat_build_info")
    }

    fn all(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let found = self.values.get(name).map_or(&[][..], Vec::as_slice);
        found.iter().map(|(labels, value)| (labels.as_str(), *value))
    }

    /// The sum over all labels.
    pub fn sum(&self, name: &str) -> f64 {
        self.all(name).map(|(_, value)| value).sum()
    }

    /// The sum of those with this label.
    pub fn with(&self, name: &str, label: &str, is: &str) -> f64 {
        let of = |labels: &str| value_of(labels, label).is_some_and(|value| value == is);
        self.all(name).filter(|(labels, _)| of(labels)).map(|(_, value)| value).sum()
    }

    pub fn highest(&self, name: &str) -> f64 {
        self.all(name).map(|(_, value)| value).fold(0.0, f64::max)
    }

    pub fn lowest(&self, name: &str) -> Option<f64> {
        self.all(name).map(|(_, value)| value).reduce(f64::min)
    }

    /// The values that a label has, in the order in which they stand.
    pub fn values_of(&self, name: &str, label: &str) -> Vec<String> {
        let mut found = Vec::new();
        for value in self.all(name).filter_map(|(labels, _)| value_of(labels, label)) {
            if !found.iter().any(|known| known == value) {
                found.push(value.to_owned());
            }
        }
        found
    }

    /// Upper bounds of a histogram's buckets with what is at or below each, lowest first.
    pub fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let bound = |labels: &str| {
            value_of(labels, "le").and_then(|le| match le {
                "+Inf" => Some(f64::INFINITY),
                le => le.parse().ok(),
            })
        };
        let all = self.all(name).filter_map(|(labels, value)| Some((bound(labels)?, value)));
        let mut buckets: Vec<(f64, f64)> = all.collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        buckets
    }
}

/// loquat's labels have no quotes or commas in their values.
fn value_of<'l>(labels: &'l str, name: &str) -> Option<&'l str> {
    labels.split(',').find_map(|label| {
        let value = label.strip_prefix(name)?.strip_prefix("=\"")?;
        value.strip_suffix('"')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP loquat_sockets Sockets in conversations.
# TYPE loquat_sockets gauge
loquat_sockets{shard=\"0\"} 3
loquat_sockets{shard=\"1\"} 4
loquat_frames_in_total{shard=\"0\",type=\"ping\"} 7
loquat_commit_seconds_bucket{le=\"0.001\"} 2
loquat_commit_seconds_bucket{le=\"+Inf\"} 5
loquat_build_info{version=\"0.1.0\"} 1
something else
";

    #[test]
    fn what_the_server_writes_is_read() {
        let sample = Sample::parse(TEXT, 1.0);
        assert!(sample.is_loquat());
        assert_eq!(sample.sum("loquat_sockets"), 7.0);
        assert_eq!(sample.with("loquat_sockets", "shard", "1"), 4.0);
        assert_eq!(sample.with("loquat_frames_in_total", "type", "ping"), 7.0);
        assert_eq!(
            (sample.highest("loquat_sockets"), sample.lowest("loquat_sockets")),
            (4.0, Some(3.0))
        );
        assert_eq!(sample.values_of("loquat_sockets", "shard"), ["0", "1"]);
        assert_eq!(
            sample.buckets("loquat_commit_seconds_bucket"),
            [(0.001, 2.0), (f64::INFINITY, 5.0)]
        );
        assert_eq!((sample.sum("no_such"), sample.lowest("no_such")), (0.0, None));
        assert!(!Sample::parse("up 1\n", 1.0).is_loquat());
    }
}
