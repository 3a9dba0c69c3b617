//! Every how many rows one is missing, or one is left, from how many each step lacks.

/// The widest regular loss that is looked for.
const WIDEST: u64 = 100;

/// A way to lose rows regularly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stride {
    pub(super) every: u64,
    phase: u64,
    /// Whether every so many rows one is left, instead of one missing.
    pub(super) keeps: bool,
}

impl Stride {
    /// How many of the first rows are missing.
    fn missing(self, rows: u64) -> u64 {
        let hit = (rows + self.every - 1 - self.phase) / self.every;
        if self.keeps { rows - hit } else { hit }
    }
}

/// The ways that fit the steps so far.
#[derive(Debug)]
pub(super) struct Strides {
    fitting: Vec<Stride>,
    rows: u64,
}

impl Strides {
    pub(super) fn new() -> Self {
        let of = |every| (0..every).map(move |phase| (every, phase));
        let fitting = (2..=WIDEST)
            .flat_map(of)
            .flat_map(|(every, phase)| {
                // One of two is left where one of two is missing.
                [false, true].map(|keeps| Stride { every, phase, keeps }).into_iter()
            })
            .filter(|stride| !(stride.keeps && stride.every == 2))
            .collect();
        Self { fitting, rows: 0 }
    }

    /// A step that should have so many rows and has others.
    pub(super) fn see(&mut self, expected: u64, found: u64) {
        let (before, after) = (self.rows, self.rows + expected);
        self.rows = after;
        self.fitting
            .retain(|stride| stride.missing(after) - stride.missing(before) + found == expected);
    }

    /// The narrowest that fits.
    pub(super) fn found(&self) -> Option<Stride> {
        self.fitting.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: &[u64], lost: impl Fn(u64) -> bool) -> Option<(u64, bool)> {
        let mut strides = Strides::new();
        let mut row = 0;
        for expected in steps {
            let found = (row..row + expected).filter(|row| !lost(*row)).count() as u64;
            row += expected;
            strides.see(*expected, found);
        }
        strides.found().map(|stride| (stride.every, stride.keeps))
    }

    #[test]
    fn regular_losses_are_told_from_others() {
        let steps = [4, 4, 5, 3, 3, 1, 1, 4, 5, 6, 6, 2];
        assert_eq!(of(&steps, |row| row % 7 == 6), Some((7, false)));
        assert_eq!(of(&steps, |row| row % 10 != 0), Some((10, true)));
        assert_eq!(of(&steps, |row| [3, 4, 9, 30].contains(&row)), None);
    }
}
