//! What `loquat top` shows, made of two samples: levels of the newer one, rates of what lies between. Pure.

use super::sample::Sample;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    pub version: String,
    pub uptime_s: f64,
    /// Cores' worth of CPU time.
    pub cpu: f64,
    pub resident_bytes: f64,
    pub descriptors: (f64, f64),
    pub sockets: f64,
    pub conversations: f64,
    pub opened_per_s: f64,
    pub closed_per_s: f64,
    pub commands_per_s: f64,
    pub messages_per_s: f64,
    pub deliveries_per_s: f64,
    pub refusals_per_s: f64,
    pub received_bytes_per_s: f64,
    pub sent_bytes_per_s: f64,
    pub commits: Commits,
    pub slow: Slow,
    pub store: Stored,
    pub shards: Vec<Shard>,
    /// What somebody should look at, each a sentence.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commits {
    pub per_s: f64,
    pub records: f64,
    /// Upper bounds in seconds; `None` when there was no commit.
    pub p50_s: Option<f64>,
    pub p99_s: Option<f64>,
}

/// Readers that do not keep up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slow {
    pub catching_up: f64,
    pub began_per_s: f64,
    pub closed_per_s: f64,
    pub outbox_bytes: f64,
    pub largest_bytes: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    pub pages_bytes: f64,
    pub journal_bytes: f64,
    pub free_bytes: f64,
    pub segments_waiting: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shard {
    pub name: String,
    pub sockets: f64,
    pub conversations: f64,
    pub commands_per_s: f64,
    pub deliveries_per_s: f64,
    pub turns_per_s: f64,
    pub outbox_bytes: f64,
    pub catching_up: f64,
    pub waiting_for_log: f64,
}

/// Two readings, the older one first.
struct Between<'s> {
    old: &'s Sample,
    new: &'s Sample,
    seconds: f64,
}

impl Between<'_> {
    /// A counter that begins anew is one of a process that was started anew.
    fn per_s(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        if self.seconds <= 0.0 {
            return 0.0;
        }
        ((of(self.new) - of(self.old)) / self.seconds).max(0.0)
    }

    fn rate(&self, name: &str) -> f64 {
        self.per_s(|sample| sample.sum(name))
    }

    fn rate_with(&self, name: &str, label: &str, is: &str) -> f64 {
        self.per_s(|sample| sample.with(name, label, is))
    }

    /// The bound below which this part of what was measured meanwhile lies.
    fn quantile(&self, name: &str, part: f64) -> Option<f64> {
        let old = self.old.buckets(name);
        let new = self.new.buckets(name);
        let before = |bound: f64| old.iter().find(|it| it.0 == bound).map_or(0.0, |it| it.1);
        let counts: Vec<(f64, f64)> =
            new.iter().map(|&(bound, count)| (bound, count - before(bound))).collect();
        let all = counts.last()?.1;
        if all <= 0.0 {
            return None;
        }
        counts.iter().find(|(_, count)| *count >= part * all).map(|(bound, _)| *bound)
    }
}

impl View {
    pub fn of(old: &Sample, new: &Sample) -> View {
        let between = Between { old, new, seconds: new.at_s - old.at_s };
        let mut view = View {
            version: new.values_of("loquat_build_info", "version").pop().unwrap_or_default(),
            uptime_s: new.at_s - new.sum("process_start_time_seconds"),
            cpu: between.rate("process_cpu_seconds_total"),
            resident_bytes: new.sum("process_resident_memory_bytes"),
            descriptors: (new.sum("process_open_fds"), new.sum("process_max_fds")),
            sockets: new.sum("loquat_sockets"),
            conversations: new.sum("loquat_conversations_in_memory"),
            opened_per_s: between.rate("loquat_sockets_opened_total"),
            closed_per_s: between.rate("loquat_sockets_closed_total"),
            commands_per_s: between.rate("loquat_frames_in_total"),
            messages_per_s: between.rate_with("loquat_frames_out_total", "type", "chat_message"),
            deliveries_per_s: between.rate("loquat_deliveries_total"),
            refusals_per_s: between.rate("loquat_refusals_total"),
            received_bytes_per_s: between.rate("loquat_received_bytes_total"),
            sent_bytes_per_s: between.rate("loquat_sent_bytes_total"),
            commits: commits(&between),
            slow: slow(&between),
            store: stored(new),
            shards: shards(&between),
            warnings: Vec::new(),
        };
        view.warnings = warnings(&view, new);
        view
    }
}

fn commits(between: &Between<'_>) -> Commits {
    let per_s = between.rate("loquat_commit_records_count");
    let records = between.rate("loquat_commit_records_sum");
    Commits {
        per_s,
        records: if per_s > 0.0 { records / per_s } else { 0.0 },
        p50_s: between.quantile("loquat_commit_seconds_bucket", 0.5),
        p99_s: between.quantile("loquat_commit_seconds_bucket", 0.99),
    }
}

fn slow(between: &Between<'_>) -> Slow {
    Slow {
        catching_up: between.new.sum("loquat_sockets_catching_up"),
        began_per_s: between.rate("loquat_catch_ups_total"),
        closed_per_s: between.rate_with("loquat_sockets_closed_total", "reason", "fell_behind"),
        outbox_bytes: between.new.sum("loquat_outbox_bytes"),
        largest_bytes: between.new.highest("loquat_outbox_largest_bytes"),
    }
}

fn stored(new: &Sample) -> Stored {
    Stored {
        pages_bytes: new.sum("loquat_pages_bytes"),
        journal_bytes: new.sum("loquat_journal_bytes"),
        free_bytes: new.sum("loquat_disk_free_bytes"),
        segments_waiting: new.sum("loquat_segments_waiting"),
    }
}

fn shards(between: &Between<'_>) -> Vec<Shard> {
    let names = between.new.values_of("loquat_sockets", "shard");
    let of = |name: String| {
        let level = |metric| between.new.with(metric, "shard", &name);
        let rate = |metric| between.rate_with(metric, "shard", &name);
        Shard {
            sockets: level("loquat_sockets"),
            conversations: level("loquat_conversations_in_memory"),
            commands_per_s: rate("loquat_frames_in_total"),
            deliveries_per_s: rate("loquat_deliveries_total"),
            turns_per_s: rate("loquat_turns_total"),
            outbox_bytes: level("loquat_outbox_bytes"),
            catching_up: level("loquat_sockets_catching_up"),
            waiting_for_log: level("loquat_waiting_for_log"),
            name,
        }
    };
    names.into_iter().map(of).collect()
}

fn warnings(view: &View, new: &Sample) -> Vec<String> {
    let pressure = new.highest("loquat_memory_pressure");
    let (open, most) = view.descriptors;
    let all = [
        (new.lowest("loquat_accepting") == Some(0.0), "messages are refused: the store takes none"),
        (new.sum("loquat_draining") > 0.0, "the server is stopping"),
        (view.store.segments_waiting > 1.0, "pages are behind: segments wait to be built"),
        (pressure >= 3.0, "memory is short: sending is refused"),
        ((1.0..3.0).contains(&pressure), "memory is short: new sockets are turned away"),
        (most > 0.0 && open > 0.8 * most, "descriptors are running out: raise LimitNOFILE"),
        (
            view.commits.p99_s.is_some_and(|p99| p99 > 0.1),
            "the disk is slow: commits take over 100 ms",
        ),
        (new.sum("loquat_oldest_turn_seconds") > 5.0, "a reactor is stuck"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_s: f64, text: &str) -> Sample {
        Sample::parse(text, at_s)
    }

    const OLD: &str = "\
loquat_build_info{version=\"0.1.0\"} 1
loquat_sockets{shard=\"0\"} 10
loquat_sockets{shard=\"1\"} 5
loquat_frames_in_total{shard=\"0\",type=\"chat_message\"} 100
loquat_deliveries_total{shard=\"0\",kind=\"event\"} 1000
loquat_deliveries_total{shard=\"1\",kind=\"event\"} 0
loquat_commit_records_count 10
loquat_commit_records_sum 100
loquat_commit_seconds_bucket{le=\"0.001\"} 10
loquat_commit_seconds_bucket{le=\"0.01\"} 10
loquat_commit_seconds_bucket{le=\"+Inf\"} 10
process_start_time_seconds 100
";

    const NEW: &str = "\
loquat_build_info{version=\"0.1.0\"} 1
loquat_sockets{shard=\"0\"} 12
loquat_sockets{shard=\"1\"} 5
loquat_frames_in_total{shard=\"0\",type=\"chat_message\"} 120
loquat_deliveries_total{shard=\"0\",kind=\"event\"} 1500
loquat_deliveries_total{shard=\"1\",kind=\"event\"} 100
loquat_commit_records_count 14
loquat_commit_records_sum 160
loquat_commit_seconds_bucket{le=\"0.001\"} 12
loquat_commit_seconds_bucket{le=\"0.01\"} 13
loquat_commit_seconds_bucket{le=\"+Inf\"} 14
process_start_time_seconds 100
loquat_accepting{shard=\"0\"} 1
loquat_accepting{shard=\"1\"} 0
";

    #[test]
    fn rates_are_what_lies_between_and_levels_the_newest() {
        let view = View::of(&sample(200.0, OLD), &sample(202.0, NEW));
        assert_eq!((view.version.as_str(), view.uptime_s, view.sockets), ("0.1.0", 102.0, 17.0));
        assert_eq!((view.commands_per_s, view.deliveries_per_s), (10.0, 300.0));
        assert_eq!((view.commits.per_s, view.commits.records), (2.0, 15.0));
        assert_eq!(view.commits.p50_s, Some(0.001));
        assert_eq!(view.commits.p99_s, Some(f64::INFINITY));
        assert_eq!(view.shards.len(), 2);
        assert_eq!(
            (view.shards[0].deliveries_per_s, view.shards[1].deliveries_per_s),
            (250.0, 50.0)
        );
        assert!(view.warnings.iter().any(|warning| warning.contains("refused")));
    }

    #[test]
    fn a_server_that_was_started_anew_has_no_rates_below_zero() {
        let view = View::of(&sample(200.0, NEW), &sample(201.0, OLD));
        assert_eq!(
            (view.deliveries_per_s, view.commits.per_s, view.commits.p50_s),
            (0.0, 0.0, None)
        );
        let still = View::of(&sample(200.0, OLD), &sample(200.0, NEW));
        assert_eq!(still.deliveries_per_s, 0.0);
    }
}
