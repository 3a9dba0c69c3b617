//! The fast lane of a comparison: reads a step's line without parsing it.
//!
//! A record repeats the queues at every step, and parsing them costs several times what deciding
//! does. So the model's decisions are written as the record would have them and compared with the
//! line as text; only the inputs (arrivals, aborts, tokens, drafts) are read. Where the text
//! differs in any byte, the line is parsed after all and compared field by field: this lane can
//! only say "the same", never "different".

use crate::conform::record::Id;
use crate::scheduler::{Kind, ModelOutput, Pass, Scheduler, Slot, Update};
use crate::units::{TokenId, Tokens};

/// How many blocks of the free queue are recorded.
pub(crate) const FREE_HEAD: usize = 8;

/// The part of a line that is not read yet. `None` from any method: the text is not as expected.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self { rest: line.trim_end().as_bytes() }
    }

    pub(crate) fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // Longer numbers might not fit; they go the slow way.
        if digits == 0 || digits > 18 {
            return None;
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        Some(number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    }

    /// Reads `[item,item]`.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.literal(b"[")?;
        if self.literal(b"]").is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            if self.literal(b",").is_none() {
                return self.literal(b"]");
            }
        }
    }

    /// Reads a list of plain ids.
    pub(crate) fn ids(&mut self) -> Option<Vec<Id<'a>>> {
        let mut ids = Vec::new();
        self.list(|cursor| {
            cursor.literal(b"\"")?;
            let end = memchr::memchr(b'"', cursor.rest)?;
            let id = std::str::from_utf8(&cursor.rest[..end]).ok()?;
            cursor.rest = &cursor.rest[end + 1..];
            ids.push(Id(id.into()));
            is_plain(id).then_some(())
        })?;
        Some(ids)
    }

    /// Reads up to the pass: the iteration, the arrivals, the aborts.
    pub(crate) fn head(&mut self) -> Option<(u64, Vec<Id<'a>>, Vec<Id<'a>>)> {
        self.literal(br#"{"type":"step","it":"#)?;
        let it = self.number()?;
        self.literal(br#","added":"#)?;
        let added = self.ids()?;
        self.literal(br#","aborted":"#)?;
        let aborted = self.ids()?;
        self.literal(br#","schedule":"#)?;
        Some((it, added, aborted))
    }

    /// Reads the tokens of the batch into `output`, provided that they are those of the entries
    /// that the scheduler expects them for.
    pub(crate) fn sampled(
        &mut self,
        scheduler: &Scheduler,
        pass: &Pass,
        output: &mut ModelOutput,
    ) -> Option<()> {
        self.literal(br#","sampled":["#)?;
        for (at, entry) in pass.entries.iter().enumerate() {
            let request = scheduler.request(entry.slot);
            self.literal(if at == 0 { b"[\"" } else { b",[\"" })?;
            self.literal(request.id().as_str().as_bytes())?;
            self.literal(b"\",")?;
            let mut any = false;
            output.push_with(|tokens| {
                self.list(|cursor| {
                    tokens.push(TokenId(cursor.number()?));
                    any = true;
                    Some(())
                })
            })?;
            self.literal(b"]")?;
            if any != (entry.samples && !request.is_finished()) {
                return None;
            }
        }
        self.literal(b"]")
    }

    /// Reads the proposals for the requests of the batch that are still there.
    pub(crate) fn drafts(
        &mut self,
        scheduler: &Scheduler,
        pass: &Pass,
        drafts: &mut Vec<Tokens>,
    ) -> Option<()> {
        self.literal(br#","drafts":["#)?;
        let mut first = true;
        for entry in &pass.entries {
            let request = scheduler.request(entry.slot);
            if request.is_finished() {
                drafts.push(Tokens::ZERO);
                continue;
            }
            self.literal(if first { b"[\"" } else { b",[\"" })?;
            first = false;
            self.literal(request.id().as_str().as_bytes())?;
            self.literal(b"\",")?;
            drafts.push(Tokens(u32::try_from(self.number()?).ok()?));
            self.literal(b"]")?;
        }
        self.literal(b"]")
    }

    pub(crate) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Whether an id is written in JSON as it is, and cannot be confused with what surrounds it.
pub(crate) fn is_plain(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Writes what the model decided as the record would have it.
#[derive(Default)]
pub(crate) struct Writer {
    text: Vec<u8>,
    digits: itoa::Buffer,
}

impl Writer {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    fn raw(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    fn number(&mut self, number: impl itoa::Integer) {
        self.text.extend_from_slice(self.digits.format(number).as_bytes());
    }

    fn id(&mut self, scheduler: &Scheduler, slot: Slot) {
        self.raw(b"\"");
        self.raw(scheduler.request(slot).id().as_str().as_bytes());
        self.raw(b"\"");
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Self, T)) {
        self.raw(b"[");
        for (at, value) in items.into_iter().enumerate() {
            if at > 0 {
                self.raw(b",");
            }
            item(self, value);
        }
        self.raw(b"]");
    }

    fn numbers(&mut self, numbers: impl IntoIterator<Item = u32>) {
        self.list(numbers, Self::number);
    }

    fn ids(&mut self, scheduler: &Scheduler, slots: impl IntoIterator<Item = Slot>) {
        self.list(slots, |writer, slot| writer.id(scheduler, slot));
    }

    fn id_number(&mut self, scheduler: &Scheduler, slot: Slot, number: Tokens) {
        self.raw(b"[");
        self.id(scheduler, slot);
        self.raw(b",");
        self.number(number.0);
        self.raw(b"]");
    }

    /// The pass without the state after it.
    pub(crate) fn pass(&mut self, scheduler: &Scheduler, pass: &Pass) {
        self.raw(br#"{"n":"#);
        self.number(pass.step);
        self.raw(br#","total":"#);
        self.number(pass.total_tokens.0);
        self.raw(br#","scheduled":"#);
        self.list(&pass.entries, |writer, entry| {
            writer.id_number(scheduler, entry.slot, entry.tokens);
        });
        self.raw(br#","kind":"#);
        self.list(&pass.entries, |writer, entry| {
            writer.raw(b"\"");
            writer.raw(entry.kind.as_str().as_bytes());
            writer.raw(b"\"");
        });
        self.raw(br#","computed":"#);
        self.numbers(pass.entries.iter().map(|entry| entry.computed.0));
        if pass.entries.iter().any(|entry| entry.drafts > Tokens::ZERO) {
            self.raw(br#","spec":"#);
            self.numbers(pass.entries.iter().map(|entry| entry.drafts.0));
        }
        self.raw(br#","blocks":"#);
        self.list(&pass.entries, |writer, entry| {
            let table = scheduler.request(entry.slot).blocks();
            writer.numbers(table[entry.new_from as usize..].iter().map(|block| block.0));
        });
        self.raw(br#","hit":{"#);
        let admitted = pass.entries.iter().filter(|entry| entry.kind != Kind::Running);
        for (at, entry) in admitted.enumerate() {
            if at > 0 {
                self.raw(b",");
            }
            self.id(scheduler, entry.slot);
            self.raw(b":");
            self.number(entry.hit.0);
        }
        self.raw(br#"},"preempted":"#);
        self.ids(scheduler, pass.preempted.iter().map(|preemption| preemption.slot));
        self.raw(br#","finished_ids":"#);
        let mut ends: Vec<Slot> = pass.finished.clone();
        ends.sort_unstable_by_key(|&slot| scheduler.request(slot).id());
        self.ids(scheduler, ends);
    }

    /// What became of an output, without drafts and state.
    pub(crate) fn update(&mut self, scheduler: &Scheduler, update: &Update) {
        self.raw(br#","appended":"#);
        let kept = update.entries.iter().filter(|entry| entry.appended > Tokens::ZERO);
        self.list(kept, |writer, entry| writer.id_number(scheduler, entry.slot, entry.appended));
        self.raw(br#","finished":"#);
        self.list(&update.finished, |writer, end| {
            writer.raw(b"[");
            writer.id(scheduler, end.slot);
            writer.raw(b",\"");
            writer.raw(end.reason.as_str().as_bytes());
            writer.raw(b"\"]");
        });
    }
}

/// The state as a record writes it, field by field.
#[derive(Default)]
pub(crate) struct StateText {
    writer: Writer,
    /// Where each field ends.
    ends: [usize; 7],
}

impl StateText {
    pub(crate) fn clear(&mut self) {
        self.writer.clear();
        self.ends = [0; 7];
    }

    pub(crate) fn write(&mut self, model: &Scheduler) {
        self.clear();
        let writer = &mut self.writer;
        let mut ends = [0; 7];
        writer.raw(br#","running":"#);
        writer.ids(model, model.running().iter().copied());
        ends[0] = writer.text.len();
        writer.raw(br#","waiting":"#);
        writer.ids(model, model.waiting());
        ends[1] = writer.text.len();
        writer.raw(br#","nblocks":"#);
        writer.numbers(model.running().iter().map(|&slot| model.request(slot).held_blocks().0));
        ends[2] = writer.text.len();
        writer.raw(br#","free":"#);
        writer.number(model.free_blocks().0);
        ends[3] = writer.text.len();
        writer.raw(br#","used":"#);
        writer.number(model.used_blocks().0);
        ends[4] = writer.text.len();
        writer.raw(br#","cached":"#);
        writer.number(model.cached_hashes());
        ends[5] = writer.text.len();
        writer.raw(br#","free_head":"#);
        writer.numbers(model.free_queue().take(FREE_HEAD).map(|block| block.0));
        ends[6] = writer.text.len();
        self.ends = ends;
    }

    pub(crate) fn text(&self) -> &[u8] {
        self.writer.text()
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends);
        starts.zip(self.ends).map(|(start, end)| &self.writer.text[start..end])
    }

    /// Reads the fields that differ from those of `before`, which are all that a record writes.
    pub(crate) fn read_changes(&self, before: &Self, cursor: &mut Cursor<'_>) -> Option<()> {
        if self.text() == before.text() {
            return Some(());
        }
        for (field, before) in self.fields().zip(before.fields()) {
            if field != before {
                cursor.literal(field)?;
            }
        }
        Some(())
    }
}
