//! Drawings as PNG: antialiased shapes, a font that comes with the program.

use std::io::Write;

use epaint_default_fonts::UBUNTU_LIGHT;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use tiny_skia::{
    Color, FillRule, LineJoin, Paint, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform,
};
use ttf_parser::{Face, OutlineBuilder};

use crate::view::draw::shapes::{Anchor, Drawing, Shape};

/// Pixels per unit of the drawing.
const SCALE: f32 = 2.0;

pub(super) fn write(drawing: &Drawing) -> Option<Vec<u8>> {
    let (width, height) = (drawing.width as f32 * SCALE, drawing.height as f32 * SCALE);
    let mut pixmap = Pixmap::new(width as u32, height as u32)?;
    pixmap.fill(Color::WHITE);
    let face = Face::parse(UBUNTU_LIGHT, 0).ok()?;
    for shape in &drawing.shapes {
        paint_shape(shape, &face, &mut pixmap);
    }
    encode(&pixmap)
}

fn paint(color: &str, opacity: f64) -> Paint<'static> {
    let part = |at: usize| {
        color.get(at..at + 2).and_then(|text| u8::from_str_radix(text, 16).ok()).unwrap_or(0)
    };
    let mut paint = Paint::default();
    let alpha = (opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
    paint.set_color_rgba8(part(1), part(3), part(5), alpha);
    paint.anti_alias = true;
    paint
}

fn path(points: &[(f64, f64)], closed: bool) -> Option<tiny_skia::Path> {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in points.iter().enumerate() {
        match index {
            0 => builder.move_to(*x as f32, *y as f32),
            _ => builder.line_to(*x as f32, *y as f32),
        }
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

fn paint_shape(shape: &Shape, face: &Face<'_>, pixmap: &mut Pixmap) {
    let scale = Transform::from_scale(SCALE, SCALE);
    match shape {
        Shape::Rect { x, y, width, height, fill, opacity } => {
            // A rectangle without extent is nothing to paint.
            if let Some(rect) = Rect::from_xywh(*x as f32, *y as f32, *width as f32, *height as f32)
            {
                pixmap.fill_rect(rect, &paint(fill, *opacity), scale, None);
            }
        }
        Shape::Line { points, stroke, width, dashed } => {
            let style = Stroke {
                width: *width as f32,
                line_join: LineJoin::Round,
                dash: if *dashed { StrokeDash::new(vec![6.0, 4.0], 0.0) } else { None },
                ..Stroke::default()
            };
            if let Some(path) = path(points, false) {
                pixmap.stroke_path(&path, &paint(stroke, 1.0), &style, scale, None);
            }
        }
        Shape::Area { points, fill, opacity } => {
            if let Some(path) = path(points, true) {
                let paint = paint(fill, *opacity);
                pixmap.fill_path(&path, &paint, FillRule::Winding, scale, None);
            }
        }
        Shape::Text { x, y, text, size, anchor, fill, upward } => {
            let outline = Outline::of(face, text, *size as f32);
            let shift = match anchor {
                Anchor::Start => 0.0,
                Anchor::Middle => outline.advance / 2.0,
                Anchor::End => outline.advance,
            };
            let Some(path) = outline.builder.finish() else { return };
            // A quarter of a turn in exact numbers.
            let turn = if *upward {
                Transform::from_row(0.0, -1.0, 1.0, 0.0, 0.0, 0.0)
            } else {
                Transform::identity()
            };
            let place = Transform::from_translate(-shift, 0.0)
                .post_concat(turn)
                .post_translate(*x as f32, *y as f32)
                .post_scale(SCALE, SCALE);
            // The font is a light one; a hair line around it makes it a regular one.
            let weight = Stroke { width: *size as f32 * 0.028, ..Stroke::default() };
            let paint = paint(fill, 1.0);
            pixmap.fill_path(&path, &paint, FillRule::Winding, place, None);
            pixmap.stroke_path(&path, &paint, &weight, place, None);
        }
    }
}

/// The outline of a text that begins at the origin.
struct Outline {
    builder: PathBuilder,
    scale: f32,
    advance: f32,
}

impl Outline {
    fn of(face: &Face<'_>, text: &str, size: f32) -> Self {
        let scale = size / f32::from(face.units_per_em());
        let mut outline = Self { builder: PathBuilder::new(), scale, advance: 0.0 };
        for c in text.chars() {
            let glyph = face.glyph_index(c).or_else(|| face.glyph_index('?')).unwrap_or_default();
            face.outline_glyph(glyph, &mut outline);
            outline.advance += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
        }
        outline
    }

    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.advance + x * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}

/// An opaque image as a PNG file of three bytes per pixel.
fn encode(pixmap: &Pixmap) -> Option<Vec<u8>> {
    let (width, height) = (pixmap.width(), pixmap.height());
    let mut lines = Vec::with_capacity((width as usize * 3 + 1) * height as usize);
    for line in pixmap.data().chunks_exact(width as usize * 4) {
        // Filter 0: the bytes as they are. Flat colours compress well enough.
        lines.push(0);
        for pixel in line.chunks_exact(4) {
            lines.extend_from_slice(&pixel[..3]);
        }
    }
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(6));
    zlib.write_all(&lines).ok()?;
    let data = zlib.finish().ok()?;
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    // Eight bits, true colour, and the only compression, filtering and order that matter.
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    chunk(&mut out, b"IHDR", &header)?;
    chunk(&mut out, b"IDAT", &data)?;
    chunk(&mut out, b"IEND", &[])?;
    Some(out)
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) -> Option<()> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    out.extend_from_slice(&u32::try_from(data.len()).ok()?.to_be_bytes());
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    out.extend_from_slice(&crc.sum().to_be_bytes());
    Some(())
}
