//! A thread that does nothing but read a stream, some blocks ahead of whoever splits it.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::log::reader::splitter::{BUFFER_BYTES, PADDING};

/// Room before what was read, for the beginning of a record that goes on in it.
const HEAD: usize = 4 << 10;
/// Blocks that are ready before the thread waits.
const BLOCKS_AHEAD: usize = 4;

/// What was read at a time: [`HEAD`] bytes, what was read, and [`PADDING`].
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    len: usize,
}

/// The blocks of a stream, in their order.
#[derive(Debug)]
pub(super) struct Blocks {
    full: Receiver<io::Result<Block>>,
    empty: Sender<Vec<u8>>,
}

impl Blocks {
    /// Begins to read.
    pub(super) fn start(input: impl Read + Send + 'static) -> io::Result<Self> {
        let (filled, full) = sync_channel(BLOCKS_AHEAD);
        let (empty, emptied) = channel();
        let read = move || read_all(input, &filled, &emptied);
        thread::Builder::new().name("disk".to_owned()).spawn(read)?;
        Ok(Self { full, empty })
    }

    /// Goes on from `buffer[start..filled]` to the same bytes and those of the next block behind them:
    /// where they begin and end in the buffer, which may be another one then. Without more bytes the
    /// stream has ended.
    pub(super) fn next(
        &mut self,
        buffer: &mut Vec<u8>,
        start: usize,
        filled: usize,
    ) -> io::Result<(usize, usize)> {
        let mut block = match self.full.recv() {
            Ok(block) => block?,
            // The thread has ended with the stream, or was told of a failure before.
            Err(_) => return Ok((start, filled)),
        };
        let rest = filled - start;
        if rest <= HEAD {
            let start = HEAD - rest;
            block.bytes[start..HEAD].copy_from_slice(&buffer[filled - rest..filled]);
            let used = std::mem::replace(buffer, block.bytes);
            // The thread may be through with the stream and need no more buffers.
            let _ = self.empty.send(used);
            return Ok((start, HEAD + block.len));
        }
        // A long record; its buffer grows.
        let end = filled + block.len;
        buffer.resize(buffer.len().max(end + PADDING), 0);
        buffer[filled..end].copy_from_slice(&block.bytes[HEAD..HEAD + block.len]);
        buffer[end..end + PADDING].fill(0);
        let _ = self.empty.send(block.bytes);
        Ok((start, end))
    }
}

fn read_all(
    mut input: impl Read,
    filled: &SyncSender<io::Result<Block>>,
    emptied: &Receiver<Vec<u8>>,
) {
    loop {
        let mut bytes = emptied.try_recv().unwrap_or_default();
        bytes.resize(HEAD + BUFFER_BYTES + PADDING, 0);
        let read = loop {
            match input.read(&mut bytes[HEAD..HEAD + BUFFER_BYTES]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let block = read.map(|len| {
            bytes[HEAD + len..HEAD + len + PADDING].fill(0);
            Block { bytes, len }
        });
        let last = block.as_ref().map_or(true, |block| block.len == 0);
        if last && block.is_ok() || filled.send(block).is_err() || last {
            return;
        }
    }
}
