//! Drawings as SVG: the same shapes give the same bytes.

use std::fmt::Write;

use crate::view::draw::shapes::{Anchor, Drawing, Shape};

const FONT: &str = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";

pub(super) fn write(drawing: &Drawing, title: &str) -> String {
    let (width, height) = (Number(drawing.width), Number(drawing.height));
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" font-family=\"{FONT}\">\n\
         <title>{}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>",
        Escaped(title)
    );
    for shape in &drawing.shapes {
        write_shape(shape, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

fn write_shape(shape: &Shape, out: &mut String) {
    let _ = match shape {
        Shape::Rect { x, y, width, height, fill, opacity } => writeln!(
            out,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"{}/>",
            Number(*x),
            Number(*y),
            Number(*width),
            Number(*height),
            Opacity(*opacity)
        ),
        Shape::Line { points, stroke, width, dashed } => writeln!(
            out,
            "<path d=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{}\" \
             stroke-linejoin=\"round\"{}/>",
            Path(points, false),
            Number(*width),
            if *dashed { " stroke-dasharray=\"6 4\"" } else { "" }
        ),
        Shape::Area { points, fill, opacity } => writeln!(
            out,
            "<path d=\"{}\" fill=\"{fill}\"{}/>",
            Path(points, true),
            Opacity(*opacity)
        ),
        Shape::Text { x, y, text, size, anchor, fill, upward } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let (x, y) = (Number(*x), Number(*y));
            let turn =
                if *upward { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
            writeln!(
                out,
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" text-anchor=\"{anchor}\" \
                 fill=\"{fill}\"{turn}>{}</text>",
                Number(*size),
                Escaped(text)
            )
        }
    };
}

/// A coordinate with at most two decimals.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hundredths = (self.0 * 100.0).round();
        // Not a number is nowhere; the left edge is as good a place as any.
        let hundredths = if hundredths.is_finite() { hundredths as i64 } else { 0 };
        let (sign, whole, rest) =
            (if hundredths < 0 { "-" } else { "" }, hundredths.abs() / 100, hundredths.abs() % 100);
        match rest {
            0 => write!(f, "{sign}{whole}"),
            rest if rest % 10 == 0 => write!(f, "{sign}{whole}.{}", rest / 10),
            rest => write!(f, "{sign}{whole}.{rest:02}"),
        }
    }
}

struct Opacity(f64);

impl std::fmt::Display for Opacity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 >= 1.0 { Ok(()) } else { write!(f, " fill-opacity=\"{}\"", Number(self.0)) }
    }
}

struct Path<'a>(&'a [(f64, f64)], bool);

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (x, y)) in self.0.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            write!(f, "{command}{} {}", Number(*x), Number(*y))?;
        }
        if self.1 { f.write_str("Z") } else { Ok(()) }
    }
}

struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                // Not even escaped may XML have these.
                c if c.is_control() => f.write_str("\u{fffd}")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
