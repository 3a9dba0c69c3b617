//! What is around every chart: titles, axes, grid and legend.

use crate::view::chart::{Axis, Chart};
use crate::view::draw::shapes::{Anchor, Drawing, text_width};
use crate::view::draw::ticks::{ticks, title};
use crate::view::draw::{HEIGHT, WIDTH};

pub(super) const INK: &str = "#1d2733";
pub(super) const SOFT: &str = "#5b6775";
const GRID: &str = "#e4e8ed";
const MINOR: &str = "#f2f4f7";
const AXIS: &str = "#9aa5b1";

const TEXT: f64 = 15.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = WIDTH - 32.0;
const LEGEND_LINE: f64 = 24.0;

/// The extent of the plot itself and what its axes mean.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

/// A name in the legend.
pub(super) struct Key {
    pub(super) name: String,
    pub(super) color: &'static str,
    /// A thin line instead of a square.
    pub(super) thin: bool,
    /// A dashed line instead of a square.
    pub(super) dashed: bool,
}

/// Where each name of the legend begins: horizontally, and in which line.
fn places(keys: &[Key]) -> Vec<(f64, usize)> {
    let (mut x, mut line) = (LEFT, 0);
    let mut places = Vec::with_capacity(keys.len());
    for key in keys {
        let width = 22.0 + text_width(&key.name, TEXT);
        if x > LEFT && x + width > RIGHT {
            (x, line) = (LEFT, line + 1);
        }
        places.push((x, line));
        x += width + 26.0;
    }
    places
}

fn place(axis: &Axis, value: f64) -> f64 {
    if axis.log {
        let value = value.max(axis.from * 1e-6);
        libm::log(value / axis.from) / libm::log(axis.to / axis.from)
    } else {
        (value - axis.from) / (axis.to - axis.from)
    }
}

impl Frame {
    /// The frame of a chart, below a legend of as many lines as its names need.
    pub(super) fn of(chart: &Chart, keys: &[Key]) -> Self {
        let lines = places(keys).last().map_or(0, |place| place.1);
        Self {
            left: LEFT,
            right: RIGHT,
            top: 112.0 + LEGEND_LINE * lines as f64,
            bottom: HEIGHT - 68.0,
            x: chart.x.clone(),
            y: chart.y.clone(),
        }
    }

    /// The horizontal place of a value, inside the plot.
    pub(super) fn px(&self, value: f64) -> f64 {
        self.left + place(&self.x, value).clamp(0.0, 1.0) * (self.right - self.left)
    }

    /// The vertical place of a value, inside the plot.
    pub(super) fn py(&self, value: f64) -> f64 {
        self.bottom - place(&self.y, value).clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    /// Titles and legend.
    pub(super) fn head(&self, chart: &Chart, keys: &[Key], out: &mut Drawing) {
        out.text((28.0, 40.0), chart.title, 24.0, Anchor::Start, INK);
        out.text((28.0, 66.0), chart.caption.clone(), TEXT, Anchor::Start, SOFT);
        for (key, (x, line)) in keys.iter().zip(places(keys)) {
            let middle = 90.0 + LEGEND_LINE * line as f64;
            if key.thin {
                out.line(vec![(x, middle), (x + 16.0, middle)], key.color, 1.6);
            } else if key.dashed {
                out.dashed(vec![(x, middle), (x + 16.0, middle)], key.color, 2.2);
            } else {
                out.rect((x, middle - 7.0), (14.0, 14.0), key.color, 1.0);
            }
            out.text((x + 22.0, middle + 5.0), key.name.clone(), TEXT, Anchor::Start, INK);
        }
    }

    /// The vertical grid and the horizontal axis.
    pub(super) fn x_axis(&self, out: &mut Drawing) {
        for tick in ticks(&self.x, 10) {
            let x = self.px(tick.at);
            let color = if tick.text.is_empty() { MINOR } else { GRID };
            out.line(vec![(x, self.top), (x, self.bottom)], color, 1.0);
            out.text((x, self.bottom + 24.0), tick.text, TEXT, Anchor::Middle, SOFT);
        }
        let middle = (self.left + self.right) / 2.0;
        out.text((middle, HEIGHT - 16.0), title(&self.x), TEXT + 1.0, Anchor::Middle, INK);
    }

    /// The horizontal grid and the vertical axis.
    pub(super) fn y_axis(&self, out: &mut Drawing) {
        let mut widest = 0.0_f64;
        for tick in ticks(&self.y, 7) {
            let y = self.py(tick.at);
            out.line(vec![(self.left, y), (self.right, y)], GRID, 1.0);
            widest = widest.max(text_width(&tick.text, TEXT));
            out.text((self.left - 10.0, y + 5.0), tick.text, TEXT, Anchor::End, SOFT);
        }
        let x = (self.left - 24.0 - widest).max(24.0);
        let middle = (self.top + self.bottom) / 2.0;
        out.text_upward((x, middle), title(&self.y), TEXT + 1.0, INK);
    }

    /// The lines along the axes, above what is drawn.
    pub(super) fn border(&self, out: &mut Drawing) {
        let bottom = vec![(self.left, self.bottom), (self.right, self.bottom)];
        out.line(bottom, AXIS, 1.2);
        out.line(vec![(self.left, self.top), (self.left, self.bottom)], AXIS, 1.2);
    }

    /// A text instead of what could not be drawn.
    pub(super) fn nothing(&self, text: &str, out: &mut Drawing) {
        let at = ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0);
        out.text(at, text, 18.0, Anchor::Middle, SOFT);
    }
}
