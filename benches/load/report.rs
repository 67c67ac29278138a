//! What came of it: a table of medians with ratios to the yardstick, all figures as JSON, and a plot of
//! latency against load.
//!
//! A ratio is the median of the rounds' ratios: both sides of each were measured within seconds of each other,
//! so what changes in the machine from one minute to the next leaves it alone.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use plotters::prelude::*;
use serde::Serialize;

use crate::fail::{Context, Fail};
use crate::outcome::Reading;

/// One run of one workload on one server.
#[derive(Debug, Serialize)]
pub struct Row {
    pub round: u32,
    pub workload: String,
    pub server: String,
    pub readings: Vec<Reading>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// The server that the others are divided by.
    pub yardstick: String,
    /// Server and generator had a core each.
    pub are_apart: bool,
    pub rows: Vec<Row>,
}

/// A cell of the table: one figure of one server.
struct Cell {
    median: f64,
    least: f64,
    most: f64,
    ratio: Option<f64>,
}

impl Report {
    pub fn new(yardstick: &str, are_apart: bool) -> Report {
        Report { yardstick: yardstick.to_owned(), are_apart, rows: Vec::new() }
    }

    /// A Markdown table for each workload.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for workload in self.distinct(|row| &row.workload) {
            let _ = writeln!(out, "\n{workload}\n");
            let _ =
                writeln!(out, "| server | figure | median | least – most | ÷ {} |", self.yardstick);
            let _ = writeln!(out, "|---|---|---:|---:|---:|");
            for server in self.distinct(|row| &row.server) {
                for (name, unit) in self.figures(&workload, &server) {
                    let Some(cell) = self.cell(&workload, &server, name) else { continue };
                    let ratio = cell.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
                    let (median, least, most) =
                        (rounded(cell.median), rounded(cell.least), rounded(cell.most));
                    let _ = writeln!(
                        out,
                        "| {server} | {name} | {median} {unit} | {least} – {most} | {ratio} |"
                    );
                }
            }
        }
        out
    }

    /// Writes `results.json`, `results.md`, and `latency.svg` if there is something to plot.
    pub fn write(&self, folder: &Path) -> Result<(), Fail> {
        fs::create_dir_all(folder).context("making the folder of the results")?;
        let json = serde_json::to_string_pretty(self).context("encoding the results")?;
        fs::write(folder.join("results.json"), json).context("writing results.json")?;
        fs::write(folder.join("results.md"), self.table()).context("writing results.md")?;
        let curves = self.curves();
        if curves.is_empty() {
            return Ok(());
        }
        plot(&folder.join("latency.svg"), &curves).context("drawing latency.svg")
    }

    fn distinct(&self, of: impl Fn(&Row) -> &String) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for row in &self.rows {
            if !found.contains(of(row)) {
                found.push(of(row).clone());
            }
        }
        found
    }

    fn figures(&self, workload: &str, server: &str) -> Vec<(&'static str, &'static str)> {
        let row = self.rows.iter().find(|row| row.workload == workload && row.server == server);
        let readings = row.map_or(&[][..], |row| &row.readings);
        readings.iter().map(|reading| (reading.name, reading.unit)).collect()
    }

    /// The figure of each round.
    fn values(&self, workload: &str, server: &str, name: &str) -> Vec<(u32, f64)> {
        let rows = self.rows.iter().filter(|row| row.workload == workload && row.server == server);
        rows.filter_map(|row| {
            let reading = row.readings.iter().find(|reading| reading.name == name)?;
            Some((row.round, reading.value))
        })
        .collect()
    }

    fn cell(&self, workload: &str, server: &str, name: &str) -> Option<Cell> {
        let values = self.values(workload, server, name);
        let yardstick = self.values(workload, &self.yardstick, name);
        let of_round =
            |round: u32| yardstick.iter().find(|(other, value)| *other == round && *value > 0.0);
        let ratios = values
            .iter()
            .filter_map(|(round, value)| of_round(*round).map(|(_, yardstick)| value / yardstick));
        let ratio = median(ratios.collect());
        let values: Vec<f64> = values.into_iter().map(|(_, value)| value).collect();
        Some(Cell {
            least: values.iter().copied().reduce(f64::min)?,
            most: values.iter().copied().reduce(f64::max)?,
            median: median(values)?,
            ratio,
        })
    }

    /// Latency against offered load, a curve per server and percentile.
    fn curves(&self) -> Vec<Curve> {
        let mut curves = Vec::new();
        for server in self.distinct(|row| &row.server) {
            for percentile in ["delivery p50", "delivery p99"] {
                let mut points = Vec::new();
                for workload in self.distinct(|row| &row.workload) {
                    let of = |name| self.cell(&workload, &server, name).map(|cell| cell.median);
                    if let (Some(load), Some(ms)) = (of("offered"), of(percentile)) {
                        points.push((load, ms));
                    }
                }
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                if !points.is_empty() {
                    curves.push(Curve { name: format!("{server}, {percentile}"), points });
                }
            }
        }
        curves
    }
}

struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Three digits that mean something.
fn rounded(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

fn plot(path: &Path, curves: &[Curve]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let load_max = points().map(|point| point.0).fold(1.0, f64::max) * 1.05;
    let (least, most) = points()
        .fold((f64::MAX, 0.0f64), |(least, most), point| (least.min(point.1), most.max(point.1)));
    let root = SVGBackend::new(path, (900, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption("Delivery latency in 10 rooms × 100 members", ("sans-serif", 18))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..load_max, (least * 0.7..most * 1.5).log_scale())?;
    let mesh = &mut chart.configure_mesh();
    mesh.x_desc("messages per second, each to 100 members").y_desc("ms").draw()?;
    for (at, curve) in curves.iter().enumerate() {
        // Two curves of a server share its colour; the second is the higher percentile.
        let color = Palette99::pick(at / 2).mix(if at % 2 == 0 { 0.45 } else { 1.0 });
        let style = color.stroke_width(2);
        let line = LineSeries::new(curve.points.iter().copied(), style);
        chart
            .draw_series(line)?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        let dots = curve.points.iter().map(|&point| Circle::new(point, 3, color.filled()));
        chart.draw_series(dots)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    root.present()?;
    Ok(())
}
