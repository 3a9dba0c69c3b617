//! Batches that a thread fills ahead of whoever uses them up.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

/// Batches that are ready before the thread waits.
const BATCHES_AHEAD: usize = 4;

/// Batches, one behind the other, and where those that are used up go to be filled again.
#[derive(Debug)]
pub(super) struct Filled<B> {
    full: Receiver<B>,
    empty: Sender<B>,
}

impl<B: Default + Send + 'static> Filled<B> {
    /// Starts a thread that fills batches up to the last one, or until nobody asks any more.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(super) fn start(mut fill: impl FnMut(&mut B) -> Last + Send + 'static) -> io::Result<Self> {
        let (filled, full) = sync_channel(BATCHES_AHEAD);
        let (empty, emptied) = channel::<B>();
        let run = move || loop {
            let mut batch = emptied.try_recv().unwrap_or_default();
            let last = fill(&mut batch);
            if filled.send(batch).is_err() || last == Last::Yes {
                return;
            }
        };
        thread::Builder::new().name("reader".to_owned()).spawn(run)?;
        Ok(Self { full, empty })
    }

    /// The next batch, in exchange for one that is used up.
    ///
    /// # Errors
    /// If the thread died before the last batch. Its panic is on standard error, and what it has not read is
    /// not to be judged as if it were not there.
    pub(super) fn next(&mut self, batch: &mut B) -> io::Result<()> {
        let next = self.full.recv().map_err(|_| died())?;
        // The thread may be through and need no more batches.
        let _ = self.empty.send(std::mem::replace(batch, next));
        Ok(())
    }
}

/// Whether a batch is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    No,
    Yes,
}

/// A thread ended before what it reads did.
pub(super) fn died() -> io::Error {
    io::Error::other("a thread that reads the file died")
}
