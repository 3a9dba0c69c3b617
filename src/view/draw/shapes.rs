//! The few shapes that charts are made of.

/// Where a text stands relative to its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// One shape; colours are `#rrggbb`.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A filled rectangle.
    Rect {
        /// Left.
        x: f64,
        /// Top.
        y: f64,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
        /// Colour.
        fill: &'static str,
        /// From 0 to 1.
        opacity: f64,
    },
    /// A line through points.
    Line {
        /// The points.
        points: Vec<(f64, f64)>,
        /// Colour.
        stroke: &'static str,
        /// Width.
        width: f64,
        /// Whether it is dashed.
        dashed: bool,
    },
    /// A filled polygon.
    Area {
        /// Its corners.
        points: Vec<(f64, f64)>,
        /// Colour.
        fill: &'static str,
        /// From 0 to 1.
        opacity: f64,
    },
    /// A text on its base line.
    Text {
        /// Horizontal position.
        x: f64,
        /// The base line.
        y: f64,
        /// The text.
        text: String,
        /// Height of the letters.
        size: f64,
        /// Which part of it is at `x`.
        anchor: Anchor,
        /// Colour.
        fill: &'static str,
        /// Whether it is read from bottom to top.
        upward: bool,
    },
}

/// Shapes on a white ground, in the order in which they are drawn.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// The shapes.
    pub shapes: Vec<Shape>,
}

impl Drawing {
    pub(super) fn rect(
        &mut self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        fill: &'static str,
        opacity: f64,
    ) {
        self.shapes.push(Shape::Rect { x, y, width, height, fill, opacity });
    }

    pub(super) fn line(&mut self, points: Vec<(f64, f64)>, stroke: &'static str, width: f64) {
        self.shapes.push(Shape::Line { points, stroke, width, dashed: false });
    }

    pub(super) fn dashed(&mut self, points: Vec<(f64, f64)>, stroke: &'static str, width: f64) {
        self.shapes.push(Shape::Line { points, stroke, width, dashed: true });
    }

    pub(super) fn area(&mut self, points: Vec<(f64, f64)>, fill: &'static str, opacity: f64) {
        self.shapes.push(Shape::Area { points, fill, opacity });
    }

    pub(super) fn text(
        &mut self,
        (x, y): (f64, f64),
        text: impl Into<String>,
        size: f64,
        anchor: Anchor,
        fill: &'static str,
    ) {
        let text = text.into();
        self.shapes.push(Shape::Text { x, y, text, size, anchor, fill, upward: false });
    }

    pub(super) fn text_upward(
        &mut self,
        (x, y): (f64, f64),
        text: String,
        size: f64,
        fill: &'static str,
    ) {
        let anchor = Anchor::Middle;
        self.shapes.push(Shape::Text { x, y, text, size, anchor, fill, upward: true });
    }
}

/// About how wide a text is in a common font without serifs.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let units: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'l' | 'j' | '.' | ',' | ':' | ';' | '|' | '\'' => 0.27,
            ' ' | 't' | 'f' | 'r' | '(' | ')' | '-' => 0.35,
            'm' | 'w' | 'M' | 'W' | '%' => 0.86,
            'A'..='Z' => 0.68,
            _ => 0.56,
        })
        .sum();
    units * size
}
