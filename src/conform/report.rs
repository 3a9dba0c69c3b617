//! What a comparison found: data first, then text.

use std::fmt;
use std::path::PathBuf;

use crate::conform::compare::Counts;
use crate::conform::record::BadRecord;
use crate::units::counted;

/// The result for a set of records, in the order of their paths.
#[derive(Clone, Debug, Default)]
pub struct ConformReport {
    /// One per record.
    pub records: Vec<RecordReport>,
}

/// The result for one record.
#[derive(Clone, Debug)]
pub struct RecordReport {
    /// The file.
    pub path: PathBuf,
    /// The kind of workload; `depth3` and so on where more than two batches are in flight.
    pub profile: String,
    /// What was compared.
    pub counts: Counts,
    /// How it came out.
    pub outcome: Outcome,
}

/// How the comparison of a record came out.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The model decided as recorded, to the end.
    Same,
    /// It did not; the comparison stopped at the first difference.
    Diverged(Box<Divergence>),
    /// There was nothing to compare: the record is unreadable or asks for something unsupported.
    Void(BadRecord),
}

/// When in an iteration a difference showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Between two iterations.
    Arrivals,
    /// After the pass.
    Scheduled,
    /// After the output was processed.
    Updated,
    /// After the last iteration.
    End,
}

impl Moment {
    /// The moment in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrivals => "before the pass",
            Self::Scheduled => "after the pass",
            Self::Updated => "after the output",
            Self::End => "at the end",
        }
    }
}

/// The first difference between a record and the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The line of the record, counted from 1.
    pub line: usize,
    /// The engine iteration.
    pub iteration: u64,
    /// The moment in it.
    pub moment: Moment,
    /// The recorded field.
    pub field: &'static str,
    /// What the record says.
    pub recorded: String,
    /// What the model says.
    pub model: String,
    /// The recorded state at that moment, if it was recorded.
    pub recorded_side: Option<Side>,
    /// The model's.
    pub model_side: Side,
    /// Why the model decided so.
    pub reasons: Vec<String>,
}

/// The state of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// The batch: ids and tokens.
    pub scheduled: Vec<(String, u32)>,
    /// Left of `max_num_scheduled_tokens`.
    pub budget_left: u32,
    /// The running queue with table lengths.
    pub running: Vec<(String, u32)>,
    /// The waiting queue in service order.
    pub waiting: Vec<String>,
    /// Free blocks.
    pub free: u32,
    /// The next blocks of the free queue.
    pub free_head: Vec<u32>,
    /// Distinct hashes in the prefix cache.
    pub cached: u32,
}

impl ConformReport {
    /// Everything compared.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.records.iter().map(|record| record.counts).sum()
    }

    /// The records that differ.
    pub fn divergences(&self) -> impl Iterator<Item = (&RecordReport, &Divergence)> {
        self.records.iter().filter_map(|record| match &record.outcome {
            Outcome::Diverged(divergence) => Some((record, &**divergence)),
            _ => None,
        })
    }

    /// The records that could not be compared.
    pub fn void(&self) -> impl Iterator<Item = (&RecordReport, &BadRecord)> {
        self.records.iter().filter_map(|record| match &record.outcome {
            Outcome::Void(reason) => Some((record, reason)),
            _ => None,
        })
    }

    /// The exit code: 0 all the same, 1 a difference, 2 a record or nothing at all could not be
    /// compared.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.divergences().next().is_some() {
            1
        } else if self.records.is_empty() || self.void().next().is_some() {
            2
        } else {
            0
        }
    }

    /// The sums per profile, sorted by name: records, what was compared, differing, void.
    #[must_use]
    pub fn by_profile(&self) -> Vec<ProfileRow> {
        let mut rows = std::collections::BTreeMap::<&str, ProfileRow>::new();
        for record in &self.records {
            let row = rows.entry(&record.profile).or_default();
            row.profile.clone_from(&record.profile);
            row.add(record);
        }
        rows.into_values().collect()
    }
}

/// The sums over the records of one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileRow {
    /// Its name.
    pub profile: String,
    /// Records.
    pub records: u64,
    /// What was compared.
    pub counts: Counts,
    /// Records that differ.
    pub diverged: u64,
    /// Records that could not be compared.
    pub void: u64,
}

impl ProfileRow {
    fn add(&mut self, record: &RecordReport) {
        self.records += 1;
        self.counts += record.counts;
        match record.outcome {
            Outcome::Same => {}
            Outcome::Diverged(_) => self.diverged += 1,
            Outcome::Void(_) => self.void += 1,
        }
    }
}

impl fmt::Display for ConformReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (record, reason) in self.void() {
            writeln!(f, "void: {}: {reason}", record.path.display())?;
        }
        for (record, divergence) in self.divergences() {
            writeln!(f, "diverged: {}:{}", record.path.display(), divergence.line)?;
            writeln!(f, "{divergence}")?;
        }
        let name = "profile";
        writeln!(f, "{name:<10} records    steps decisions diverged void")?;
        for row in self.by_profile() {
            let ProfileRow { profile, records, counts, diverged, void } = row;
            let Counts { steps, .. } = counts;
            let decisions = counts.decisions();
            writeln!(
                f,
                "{profile:<10} {records:>7} {steps:>8} {decisions:>9} {diverged:>8} {void:>4}"
            )?;
        }
        let counts = self.counts();
        write!(
            f,
            "{}, {}, {} compared; {} diverged, {} void",
            counted(self.records.len() as u64, "record", "records"),
            counted(counts.steps, "step", "steps"),
            counted(counts.decisions(), "decision", "decisions"),
            self.divergences().count(),
            self.void().count(),
        )
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iteration, moment, field, recorded, model, .. } = self;
        writeln!(f, "  iteration {iteration}, {}, `{field}` differs", moment.as_str())?;
        writeln!(f, "    vLLM:  {recorded}")?;
        writeln!(f, "    model: {model}")?;
        if let Some(side) = &self.recorded_side {
            writeln!(f, "  vLLM:\n{side}")?;
        }
        writeln!(f, "  model:\n{}", self.model_side)?;
        write!(f, "  why the model decided so:")?;
        for reason in &self.reasons {
            write!(f, "\n    {reason}")?;
        }
        if self.reasons.is_empty() {
            write!(f, "\n    nothing limited this step")?;
        }
        Ok(())
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = |pairs: &[(String, u32)]| {
            let texts: Vec<_> = pairs.iter().map(|(id, count)| format!("{id}:{count}")).collect();
            texts.join(" ")
        };
        writeln!(f, "    scheduled (id:tokens)  {}", pairs(&self.scheduled))?;
        writeln!(f, "    budget left            {}", self.budget_left)?;
        writeln!(f, "    running (id:blocks)    {}", pairs(&self.running))?;
        writeln!(f, "    waiting                {}", self.waiting.join(" "))?;
        write!(f, "    free blocks            {}, next {:?}", self.free, self.free_head)?;
        write!(f, ", {} hashes cached", self.cached)
    }
}
