//! How integers such as lengths are distributed.

use std::fmt;
use std::str::FromStr;

use super::random::Source;

/// A distribution of whole numbers, written `128`, `uniform:1:1024` or
/// `lognormal:MEDIAN:SIGMA:MIN:MAX`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Fixed(u64),
    /// Any of these alike, both ends included.
    Uniform {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Its logarithm is normal; values outside are moved to the nearer end.
    LogNormal {
        /// As many are below as above.
        median: f64,
        /// The deviation of the logarithm.
        sigma: f64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

impl Distribution {
    pub(super) fn sample(&self, source: &mut Source) -> u64 {
        match *self {
            Self::Fixed(value) => value,
            Self::Uniform { min, max } => source.between(min, max),
            Self::LogNormal { median, sigma, min, max } => {
                let value = median * libm::exp(sigma * source.normal());
                // Casting cuts the fraction off and stops at the largest number.
                ((value + 0.5) as u64).clamp(min, max)
            }
        }
    }

    /// The least and the most that it gives.
    #[must_use]
    pub const fn range(&self) -> (u64, u64) {
        match *self {
            Self::Fixed(value) => (value, value),
            Self::Uniform { min, max } | Self::LogNormal { min, max, .. } => (min, max),
        }
    }

    pub(super) const fn is_always(&self, value: u64) -> bool {
        let (min, max) = self.range();
        min == value && max == value
    }
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole =
            |part: &str| part.parse::<u64>().map_err(|_| format!("`{part}` is not a whole number"));
        let real = |part: &str| {
            let value = part.parse::<f64>().map_err(|_| format!("`{part}` is not a number"))?;
            let usable = value.is_finite() && value >= 0.0;
            usable.then_some(value).ok_or_else(|| format!("`{part}` is not a positive number"))
        };
        let parts: Vec<&str> = text.split(':').collect();
        let distribution = match parts[..] {
            [value] | ["fixed", value] => Self::Fixed(whole(value)?),
            ["uniform", min, max] => Self::Uniform { min: whole(min)?, max: whole(max)? },
            ["lognormal", median, sigma, min, max] => Self::LogNormal {
                median: real(median)?,
                sigma: real(sigma)?,
                min: whole(min)?,
                max: whole(max)?,
            },
            _ => {
                return Err("give a number, fixed:N, uniform:MIN:MAX or \
                            lognormal:MEDIAN:SIGMA:MIN:MAX"
                    .to_owned());
            }
        };
        let (min, max) = distribution.range();
        if min > max {
            return Err(format!("the least ({min}) is more than the most ({max})"));
        }
        Ok(distribution)
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "fixed:{value}"),
            Self::Uniform { min, max } => write!(f, "uniform:{min}:{max}"),
            Self::LogNormal { median, sigma, min, max } => {
                write!(f, "lognormal:{median}:{sigma}:{min}:{max}")
            }
        }
    }
}
