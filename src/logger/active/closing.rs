//! The end of a log: steps that are cut off, requests that are still alive.

use crate::log::values::FinishReason;
use crate::logger::active::Active;
use crate::logger::{HookError, LoggerError};
use crate::units::{Blocks, Nanos};

impl Active {
    pub(in crate::logger) fn shutdown(mut self: Box<Self>, now: Nanos) -> Result<(), LoggerError> {
        // A clock that went backwards is no reason to lose what is buffered.
        let now = now.max(self.clock);
        self.cut_open_steps(now)?;
        for (key, mut metrics) in self.live.take_all() {
            metrics.close(now);
            self.write_request(key, &metrics, FinishReason::Unfinished, Blocks::ZERO);
        }
        self.writer.flush()?;
        self.writer.finish()?;
        Ok(())
    }

    /// Steps under way end with the scheduler, without an output, so that what they decided stands
    /// in every file; a step that has decided nothing yet leaves no trace.
    fn cut_open_steps(&mut self, now: Nanos) -> Result<(), HookError> {
        while let Some(step) = self.open.front_mut() {
            if !step.is_decided {
                break;
            }
            if !step.has_output {
                step.output = now;
                step.has_output = true;
            }
            self.close_oldest("shutdown", now)?;
        }
        Ok(())
    }
}
