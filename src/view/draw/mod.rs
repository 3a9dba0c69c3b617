//! Charts as SVG and PNG, without a browser, a system library or a system font.

mod frame;
mod numbers;
#[cfg(feature = "plots")]
mod png;
mod shapes;
mod svg;
mod ticks;
mod values;

pub use numbers::{duration, grouped};
pub use shapes::{Anchor, Drawing, Shape};

use crate::view::chart::Chart;

/// The width of an image in pixels.
pub const WIDTH: f64 = 1_200.0;
/// The height of an image in pixels.
pub const HEIGHT: f64 = 560.0;

/// Draws a chart.
#[must_use]
pub fn draw(chart: &Chart) -> Drawing {
    values::draw(chart)
}

/// A drawing as SVG.
#[must_use]
pub fn to_svg(drawing: &Drawing, title: &str) -> String {
    svg::write(drawing, title)
}

/// A drawing as PNG, two pixels per unit; `None` if this build makes none.
#[must_use]
pub fn to_png(drawing: &Drawing) -> Option<Vec<u8>> {
    #[cfg(feature = "plots")]
    return png::write(drawing);
    #[cfg(not(feature = "plots"))]
    {
        let _ = drawing;
        None
    }
}
