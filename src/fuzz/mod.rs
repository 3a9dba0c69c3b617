//! Fuzzing of loggers and schedulers: sequences of hook calls, a second opinion, a minimal case.
//!
//! A [`workload`] is drawn from a seed ([`generate`]) and run through the reference scheduler, whose
//! calls are recorded ([`recorder`]) as an [`sequence::EventSequence`], or damaged ([`hostile`]). A
//! logger is driven with it ([`drive`]), the checks judge the log ([`opinion`]), and the
//! [`ledger`] says from the calls alone what the log must say ([`judge`]). What fails is made small
//! ([`shrink`]). A [`run`] does this many times and steers by what is covered ([`coverage`]).

pub mod case;
pub mod coverage;
pub mod dice;
pub mod drive;
pub mod external;
pub mod failure;
pub mod generate;
pub mod hostile;
pub mod judge;
pub mod ledger;
pub mod opinion;
pub mod recorder;
pub mod run;
pub mod sequence;
pub mod shrink;
mod shrink_values;
pub mod watch;
pub mod workload;
