//! What is drawn of a picture, as data: the images and the page both come from it.

mod distributions;
mod over_time;
mod overlaid;

pub use overlaid::{MOST_RUNS, NamedPicture, overlaid};

use crate::view::Picture;

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, shown in the unit that fits.
    Nanos,
    /// A count of what the label says.
    Count,
    /// Percent.
    Percent,
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, without the unit.
    pub label: String,
    /// What its numbers are.
    pub unit: Unit,
    /// Whether equal distances are equal ratios.
    pub log: bool,
    /// Its beginning.
    pub from: f64,
    /// Its end, above its beginning.
    pub to: f64,
}

/// How a series over time is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The mean as a line, from the lowest to the highest value as a band.
    Band,
    /// The mean as an area on top of the series before it.
    Stack,
    /// The highest value as a pale area behind the others.
    Peak,
}

/// A quantity over time.
#[derive(Clone, Debug)]
pub struct TimeSeries {
    /// What it is.
    pub name: String,
    /// `#rrggbb`.
    pub color: &'static str,
    /// How it is drawn.
    pub style: Style,
    /// The lowest value of each point; empty unless it is drawn.
    pub min: Vec<f64>,
    /// The mean of each point; empty unless it is drawn.
    pub mean: Vec<f64>,
    /// The highest value of each point; empty unless it is drawn.
    pub max: Vec<f64>,
}

/// A curve; it keeps each value until the next point.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What it is.
    pub name: String,
    /// `#rrggbb`.
    pub color: &'static str,
    /// The width of its line.
    pub width: f64,
    /// Whether it is dashed.
    pub dashed: bool,
    /// Its points, ascending.
    pub points: Vec<(f64, f64)>,
    /// The lower edge of a band around it; empty without one.
    pub low: Vec<(f64, f64)>,
    /// The upper edge of the band.
    pub high: Vec<(f64, f64)>,
}

/// What the heights of curves are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Values.
    Values,
    /// Shares up to 100 %: quantiles are marked.
    Shares,
}

/// A bar cut into parts.
#[derive(Clone, Debug)]
pub struct Shares {
    /// What it is.
    pub name: String,
    /// What stands behind it.
    pub note: String,
    /// The parts, in the unit of the x axis.
    pub parts: Vec<f64>,
}

/// What is drawn between the axes.
#[derive(Clone, Debug)]
pub enum Body {
    /// Quantities over time.
    Time {
        /// Where the points begin, and where the last one ends.
        times: Vec<f64>,
        /// What is drawn.
        series: Vec<TimeSeries>,
        /// Marks on the time axis: where they are, and how much each stands for.
        marks: Vec<(f64, f64)>,
        /// What the marks are.
        marks_name: &'static str,
    },
    /// A histogram with named positions.
    Bars {
        /// `(from, to, value)`.
        bars: Vec<(f64, f64, f64)>,
        /// `#rrggbb`.
        color: &'static str,
        /// Positions and what they are.
        lines: Vec<(f64, String)>,
    },
    /// Curves of things that are compared.
    Curves {
        /// The curves.
        curves: Vec<Curve>,
        /// What their heights are.
        scale: Scale,
    },
    /// Bars cut into parts.
    Shares {
        /// The parts: name and colour.
        parts: Vec<(&'static str, &'static str)>,
        /// The bars, top down.
        rows: Vec<Shares>,
    },
}

/// One chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// A name for files and links.
    pub name: &'static str,
    /// The title.
    pub title: &'static str,
    /// A sentence below the title.
    pub caption: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn.
    pub body: Body,
}

/// Colours, told apart by those who see few of them too.
pub mod color {
    /// Blue.
    pub const BLUE: &str = "#3b7dd8";
    /// Orange.
    pub const ORANGE: &str = "#e58a2c";
    /// Green.
    pub const GREEN: &str = "#2a9d7c";
    /// Red.
    pub const RED: &str = "#d1495b";
    /// Purple.
    pub const PURPLE: &str = "#8661c1";
    /// Grey.
    pub const GREY: &str = "#7d8896";
    /// Light blue.
    pub const SKY: &str = "#58b4d9";
    /// Yellow.
    pub const YELLOW: &str = "#d8b12f";
}

/// Every chart of a picture, over time in at most about `points` points.
#[must_use]
pub fn charts(picture: &Picture, points: usize) -> Vec<Chart> {
    let mut charts = over_time::charts(picture, points);
    charts.extend(distributions::charts(picture));
    charts
}
