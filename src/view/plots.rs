//! Charts as files.

use std::io;
use std::path::{Path, PathBuf};

use crate::view::Picture;
use crate::view::chart::{Chart, charts};
use crate::view::draw::{WIDTH, draw, to_png, to_svg};

/// Writes every chart of a picture to `directory` (created if need be), as SVG and, where this build
/// makes them, PNG. Returns what was written.
///
/// # Errors
/// What the file system says, with the file that could not be written.
pub fn write_plots(picture: &Picture, directory: &Path) -> Result<Vec<PathBuf>, PlotError> {
    write_charts(&charts(picture, WIDTH as usize), directory)
}

/// Writes charts to `directory`, as [`write_plots`] does.
///
/// # Errors
/// As there.
pub fn write_charts(charts: &[Chart], directory: &Path) -> Result<Vec<PathBuf>, PlotError> {
    let wrap = |path: &Path| {
        let path = path.to_owned();
        move |source| PlotError { path, source }
    };
    std::fs::create_dir_all(directory).map_err(wrap(directory))?;
    let mut written = Vec::new();
    for chart in charts {
        let drawing = draw(chart);
        let svg = Some(to_svg(&drawing, chart.title).into_bytes());
        for (ending, bytes) in [("svg", svg), ("png", to_png(&drawing))] {
            let Some(bytes) = bytes else { continue };
            let path = directory.join(format!("{}.{ending}", chart.name));
            std::fs::write(&path, bytes).map_err(wrap(&path))?;
            written.push(path);
        }
    }
    Ok(written)
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot be written: {source}; name a directory that can be created or written to", path = .path.display())]
pub struct PlotError {
    /// The file.
    path: PathBuf,
    /// Why.
    source: io::Error,
}
