//! What a made-up trace is to be like.

use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::Distribution;
use super::random::Source;
use crate::trace::{MAX_LENGTH, parse_duration};
use crate::units::Nanos;

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArrivalProcess {
    /// Independent of each other.
    Poisson,
    /// Gaps of a gamma distribution, with --cv.
    Gamma,
    /// Evenly.
    Fixed,
    /// In bursts of --burst-size, evenly.
    Burst,
    /// Poisson for some time, then none for some time.
    OnOff,
}

/// How a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FollowUp {
    /// A turn comes --think-time-ms after the previous one was answered.
    ClosedLoop,
    /// A turn comes --think-time-ms after the previous one arrived, answered or not.
    Timed,
}

/// How requests are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IdStyle {
    /// r0, r1, r2, …
    Ordinal,
    /// As a completions server names them: cmpl-, 32 hexadecimal digits, -0.
    Completion,
}

/// How conversations choose among shared prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrefixChoice {
    /// All alike.
    Uniform,
    /// The n-th with weight 1 / n^--prefix-skew.
    Zipf,
}

/// Priorities with weights, written `0:9,1:1`.
#[derive(Clone, Debug, PartialEq)]
pub struct PriorityWeights {
    priorities: Vec<i64>,
    weights: Vec<f64>,
    cumulative: Vec<f64>,
}

impl PriorityWeights {
    pub(super) fn sample(&self, source: &mut Source) -> i64 {
        match self.priorities[..] {
            [only] => only,
            _ => self.priorities[source.weighted(&self.cumulative)],
        }
    }
}

impl FromStr for PriorityWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut priorities, mut weights, mut cumulative) = (Vec::new(), Vec::new(), Vec::new());
        let mut sum = 0.0;
        for part in text.split(',') {
            let (priority, weight) = part.split_once(':').unwrap_or((part, "1"));
            let priority = priority.trim().parse::<i64>();
            priorities.push(priority.map_err(|_| format!("`{part}` has no whole priority"))?);
            let weight = weight.trim().parse::<f64>().ok().filter(|w| *w > 0.0 && *w <= 1e9);
            let weight = weight.ok_or_else(|| format!("`{part}` has no positive weight"))?;
            weights.push(weight);
            sum += weight;
            cumulative.push(sum);
        }
        Ok(Self { priorities, weights, cumulative })
    }
}

impl fmt::Display for PriorityWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (priority, weight)) in self.priorities.iter().zip(&self.weights).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{priority}:{weight}")?;
        }
        Ok(())
    }
}

/// What a made-up trace is to be like. [`Display`](fmt::Display) writes it as flags.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct GenerateOptions {
    /// Where the random numbers start; the same seed and options give the same bytes
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How many requests, follow-up turns included
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub requests: u64,
    /// How requests are named
    #[arg(long, value_enum, default_value = "ordinal")]
    pub ids: IdStyle,
    /// How arrivals are spaced
    #[arg(long, value_enum, default_value = "poisson", help_heading = "Arrivals")]
    pub arrival: ArrivalProcess,
    /// Conversations that start per second, on average
    #[arg(long, default_value_t = 1.0, value_name = "PER_SECOND", help_heading = "Arrivals")]
    pub rate: f64,
    /// Gamma arrivals: deviation of the gaps over their mean; above 1 is burstier than Poisson
    #[arg(long, default_value_t = 2.0, value_name = "RATIO", help_heading = "Arrivals")]
    pub cv: f64,
    /// Burst arrivals: how many at a time
    #[arg(long, default_value_t = 8, value_name = "N", help_heading = "Arrivals")]
    pub burst_size: u32,
    /// Burst arrivals: time between two of a burst
    #[arg(long, default_value = "0ns", value_name = "TIME", value_parser = duration,
        help_heading = "Arrivals")]
    pub burst_spacing: Nanos,
    /// On-off arrivals: mean time with arrivals
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration,
        help_heading = "Arrivals")]
    pub on_time: Nanos,
    /// On-off arrivals: mean time without
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration,
        help_heading = "Arrivals")]
    pub off_time: Nanos,
    /// Prompt tokens of a turn, without what came before: N, uniform:MIN:MAX or
    /// lognormal:MEDIAN:SIGMA:MIN:MAX
    #[arg(
        long,
        default_value = "lognormal:512:1:1:8192",
        value_name = "DISTRIBUTION",
        help_heading = "Lengths"
    )]
    pub input_length: Distribution,
    /// Output tokens
    #[arg(
        long,
        default_value = "lognormal:128:1:1:2048",
        value_name = "DISTRIBUTION",
        help_heading = "Lengths"
    )]
    pub output_length: Distribution,
    /// How many shared prefixes (system prompts) there are
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Sharing")]
    pub prefixes: u32,
    /// Tokens of a shared prefix: whole hash blocks
    #[arg(long, default_value_t = 1_024, value_name = "TOKENS", help_heading = "Sharing")]
    pub prefix_length: u32,
    /// The part of the conversations that start with a shared prefix
    #[arg(long, default_value_t = 1.0, value_name = "FRACTION", help_heading = "Sharing")]
    pub prefix_share: f64,
    /// How conversations choose among the prefixes
    #[arg(long, value_enum, default_value = "zipf", help_heading = "Sharing")]
    pub prefix_choice: PrefixChoice,
    /// Zipf choice: how much the first prefixes are preferred
    #[arg(long, default_value_t = 1.0, value_name = "EXPONENT", help_heading = "Sharing")]
    pub prefix_skew: f64,
    /// Prompt tokens per hash id
    #[arg(long, default_value_t = 512, value_name = "TOKENS", help_heading = "Sharing")]
    pub hash_block_size: u32,
    /// Turns of a conversation; each prompt continues all that was said before
    #[arg(long, default_value = "1", value_name = "DISTRIBUTION", help_heading = "Conversations")]
    pub turns: Distribution,
    /// What a follow-up turn waits for
    #[arg(long, value_enum, default_value = "closed-loop", help_heading = "Conversations")]
    pub follow_up: FollowUp,
    /// How long it waits, in milliseconds
    #[arg(
        long,
        default_value = "lognormal:5000:1:0:600000",
        value_name = "DISTRIBUTION",
        help_heading = "Conversations"
    )]
    pub think_time_ms: Distribution,
    /// A conversation ends before a follow-up prompt gets longer than this
    #[arg(long, default_value_t = 32_768, value_name = "TOKENS", help_heading = "Conversations")]
    pub session_max_input: u32,
    /// Priorities of conversations with weights, such as 0:9,1:1
    #[arg(
        long,
        default_value = "0",
        value_name = "PRIORITY:WEIGHT,...",
        help_heading = "Clients",
        allow_hyphen_values = true
    )]
    pub priorities: PriorityWeights,
    /// The part of the requests whose client gives up
    #[arg(long, default_value_t = 0.0, value_name = "FRACTION", help_heading = "Clients")]
    pub abort_fraction: f64,
    /// How long after the arrival it does, in milliseconds
    #[arg(
        long,
        default_value = "uniform:100:10000",
        value_name = "DISTRIBUTION",
        help_heading = "Clients"
    )]
    pub abort_after_ms: Distribution,
}

fn duration(text: &str) -> Result<Nanos, String> {
    parse_duration(text).map_err(|error| {
        format!("{error}; give seconds, or a number with ns, us, ms, s, m or h, such as 1.5h")
    })
}

/// An option that does not make sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{option} {problem}")]
pub struct InvalidOption {
    /// The option.
    pub option: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            options: GenerateOptions,
        }
        // One place for defaults: the declaration above.
        <Defaults as clap::Parser>::parse_from([""]).options
    }
}

impl GenerateOptions {
    /// Hash blocks of a shared prefix.
    pub(super) const fn prefix_blocks(&self) -> u32 {
        self.prefix_length / self.hash_block_size
    }

    /// The cumulative weights of the shared prefixes.
    pub(super) fn prefix_weights(&self) -> Vec<f64> {
        let skew = match self.prefix_choice {
            PrefixChoice::Uniform => 0.0,
            PrefixChoice::Zipf => self.prefix_skew,
        };
        let mut sum = 0.0;
        (1..=self.prefixes)
            .map(|rank| {
                sum += libm::pow(f64::from(rank), -skew);
                sum
            })
            .collect()
    }

    /// Checks the options, alone and together.
    ///
    /// # Errors
    /// The first one that does not make sense.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        self.validate_arrivals()?;
        self.validate_prompts()?;
        check(within(self.prefix_share, 0.0, 1.0), "prefix-share", "must be from 0 to 1")?;
        check(within(self.prefix_skew, 0.0, 10.0), "prefix-skew", "must be from 0 to 10")?;
        check(within(self.abort_fraction, 0.0, 1.0), "abort-fraction", "must be from 0 to 1")?;
        let longest = i64::MAX.unsigned_abs() / Nanos::MILLISECOND.0;
        for (option, times) in
            [("think-time-ms", self.think_time_ms), ("abort-after-ms", self.abort_after_ms)]
        {
            check(times.range().1 <= longest, option, "must be at most 292 years")?;
        }
        Ok(())
    }

    fn validate_arrivals(&self) -> Result<(), InvalidOption> {
        const SPAN_MAX: f64 = 1e9;
        let count = 1..=u64::from(u32::MAX);
        check(count.contains(&self.requests), "requests", "must be from 1 to 4294967295")?;
        check(within(self.rate, 1e-6, 1e9), "rate", "must be from 0.000001 to 1000000000")?;
        let spans = self.requests as f64 / self.rate;
        check(spans <= SPAN_MAX, "rate", "would spread the requests over more than 31 years")?;
        check(within(self.cv, 0.01, 100.0), "cv", "must be from 0.01 to 100")?;
        check(self.burst_size > 0, "burst-size", "must be at least 1")?;
        let every = f64::from(self.burst_size) * 1e9 / self.rate;
        let long = self.burst_spacing.0 as f64 * f64::from(self.burst_size);
        check(
            self.arrival != ArrivalProcess::Burst || long <= every,
            "burst-spacing",
            "makes a burst last until after the next one starts",
        )?;
        let day = 86_400 * Nanos::SECOND.0;
        let times = Nanos::MILLISECOND.0..=day;
        check(times.contains(&self.on_time.0), "on-time", "must be from 1ms to 24h")?;
        check(self.off_time.0 <= day, "off-time", "must be at most 24h")?;
        let cycle = (self.on_time + self.off_time).as_secs_f64();
        check(
            self.arrival != ArrivalProcess::OnOff || self.rate * cycle >= 1e-3,
            "on-time",
            "and --off-time are too short for the rate: under 0.001 arrivals in both",
        )
    }

    fn validate_prompts(&self) -> Result<(), InvalidOption> {
        const BLOCK_MAX: u32 = 1 << 20;
        let length = |option, lengths: Distribution| {
            let (min, max) = lengths.range();
            let fits = min >= 1 && max <= u64::from(MAX_LENGTH) / 2;
            check(fits, option, "must be from 1 to 1073741823")
        };
        length("input-length", self.input_length)?;
        length("output-length", self.output_length)?;
        length("turns", self.turns)?;
        let block = self.hash_block_size;
        check((1..=BLOCK_MAX).contains(&block), "hash-block-size", "must be from 1 to 1048576")?;
        check(self.prefixes <= 1 << 20, "prefixes", "must be at most 1048576")?;
        if self.prefixes > 0 {
            check(
                self.prefix_length > 0 && self.prefix_length.is_multiple_of(block),
                "prefix-length",
                &format!("must be a multiple of --hash-block-size ({block})"),
            )?;
            check(self.prefix_length <= MAX_LENGTH / 2, "prefix-length", "is too long")?;
        }
        check(
            self.session_max_input <= MAX_LENGTH,
            "session-max-input",
            "must be at most 2147483647",
        )
    }
}

fn within(value: f64, min: f64, max: f64) -> bool {
    value >= min && value <= max
}

fn check(holds: bool, option: &'static str, problem: &str) -> Result<(), InvalidOption> {
    if holds { Ok(()) } else { Err(InvalidOption { option, problem: problem.to_owned() }) }
}

impl fmt::Display for GenerateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |value: &dyn NamedValue| value.name();
        write!(f, "--seed {} --requests {}", self.seed, self.requests)?;
        if self.ids != IdStyle::Ordinal {
            write!(f, " --ids {}", name(&self.ids))?;
        }
        write!(f, " --arrival {} --rate {}", name(&self.arrival), self.rate)?;
        match self.arrival {
            ArrivalProcess::Poisson | ArrivalProcess::Fixed => {}
            ArrivalProcess::Gamma => write!(f, " --cv {}", self.cv)?,
            ArrivalProcess::Burst => {
                let spacing = self.burst_spacing;
                write!(f, " --burst-size {} --burst-spacing {spacing}ns", self.burst_size)?;
            }
            ArrivalProcess::OnOff => {
                write!(f, " --on-time {}ns --off-time {}ns", self.on_time, self.off_time)?;
            }
        }
        write!(f, " --input-length {}", self.input_length)?;
        write!(f, " --output-length {}", self.output_length)?;
        write!(f, " --hash-block-size {}", self.hash_block_size)?;
        if self.prefixes > 0 {
            write!(f, " --prefixes {} --prefix-length {}", self.prefixes, self.prefix_length)?;
            write!(f, " --prefix-share {}", self.prefix_share)?;
            write!(f, " --prefix-choice {}", name(&self.prefix_choice))?;
            write!(f, " --prefix-skew {}", self.prefix_skew)?;
        }
        if !self.turns.is_always(1) {
            write!(f, " --turns {} --follow-up {}", self.turns, name(&self.follow_up))?;
            write!(f, " --think-time-ms {}", self.think_time_ms)?;
            write!(f, " --session-max-input {}", self.session_max_input)?;
        }
        write!(f, " --priorities={}", self.priorities)?;
        if self.abort_fraction > 0.0 {
            write!(f, " --abort-fraction {}", self.abort_fraction)?;
            write!(f, " --abort-after-ms {}", self.abort_after_ms)?;
        }
        Ok(())
    }
}

/// A choice as it is written on the command line.
trait NamedValue {
    fn name(&self) -> String;
}

impl<T: ValueEnum> NamedValue for T {
    fn name(&self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
