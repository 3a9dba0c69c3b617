//! The values of members: how they are written, and read by the [short cut](super::short).

use crate::log::details::short::Rest;
use crate::log::sink::Sink;
use crate::log::values::FinishReason;
use crate::units::{Blocks, IterationId, Priority, Tokens};

/// A value of a member.
pub(super) trait Value: Copy {
    /// Reads one; `None` if it is out of the ordinary.
    fn read(rest: &mut Rest<'_>) -> Option<Self>;

    /// Writes it into a quoted field.
    fn write<O: Sink>(self, out: &mut O);
}

macro_rules! numbers {
    ($( $type:ident: $read:ident, )*) => {
        $( impl Value for $type {
            #[inline]
            fn read(rest: &mut Rest<'_>) -> Option<Self> {
                rest.$read().map(Self)
            }

            fn write<O: Sink>(self, out: &mut O) {
                out.put(itoa::Buffer::new().format(self.0).as_bytes());
            }
        } )*
    };
}

numbers! {
    IterationId: number,
    Tokens: short,
    Blocks: short,
    Priority: signed,
}

impl Value for FinishReason {
    #[inline]
    fn read(rest: &mut Rest<'_>) -> Option<Self> {
        Self::from_bytes(rest.word()?)
    }

    fn write<O: Sink>(self, out: &mut O) {
        out.put(b"\"\"");
        out.put(self.as_str().as_bytes());
        out.put(b"\"\"");
    }
}
