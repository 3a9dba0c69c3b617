//! The requests that are alive, and their names.

use crate::log::ids::{IdTable, Ids, RequestKey};
use crate::log::values::State;
use crate::logger::{HookError, RequestHandle, RequestMetrics};

/// A place for a live request; the generation tells its successive tenants apart. It is in the cache line
/// that every step touches of a running request; in all there is an odd number of lines, so that these are
/// spread over the whole of a cache.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Seat {
    generation: u32,
    metrics: Option<RequestMetrics>,
}

const _: () = assert!(size_of::<Seat>() == 192, "an odd number of cache lines");

/// Live requests by key.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) ids: IdTable,
    seats: Vec<Seat>,
}

impl Live {
    /// Takes in a request whose name is not live.
    pub(super) fn admit(&mut self, id: &str, metrics: RequestMetrics) -> RequestHandle {
        let key = self.ids.intern(id);
        if key.index() >= self.seats.len() {
            self.seats.resize_with(key.index() + 1, Seat::default);
        }
        let seat = &mut self.seats[key.index()];
        seat.generation = seat.generation.wrapping_add(1);
        seat.metrics = Some(metrics);
        RequestHandle { key, generation: seat.generation }
    }

    #[inline]
    pub(super) fn get(&self, request: RequestHandle) -> Option<&RequestMetrics> {
        self.seats
            .get(request.key.index())
            .filter(|seat| seat.generation == request.generation)
            .and_then(|seat| seat.metrics.as_ref())
    }

    /// The live request.
    #[inline]
    pub(super) fn get_mut(
        &mut self,
        hook: &'static str,
        request: RequestHandle,
    ) -> Result<&mut RequestMetrics, HookError> {
        seated(&mut self.seats, hook, request)
    }

    /// The live request, if it is in one of the states `from`.
    #[inline]
    pub(super) fn get_in(
        &mut self,
        hook: &'static str,
        request: RequestHandle,
        from: &[State],
        to: State,
    ) -> Result<&mut RequestMetrics, HookError> {
        self.get_in_with_ids(hook, request, from, to).map(|(metrics, _)| metrics)
    }

    /// The live request, if it is in one of the states `from`, beside the names of all.
    #[inline]
    pub(super) fn get_in_with_ids(
        &mut self,
        hook: &'static str,
        request: RequestHandle,
        from: &[State],
        to: State,
    ) -> Result<(&mut RequestMetrics, &IdTable), HookError> {
        let metrics = seated(&mut self.seats, hook, request)?;
        if !from.contains(&metrics.state()) {
            return Err(illegal(&self.ids, hook, request.key, metrics.state(), to));
        }
        Ok((metrics, &self.ids))
    }

    /// Takes out what is known of a request, whose key stays its own until it is
    /// [forgotten](Live::forget).
    pub(super) fn take(&mut self, request: RequestHandle) -> Option<RequestMetrics> {
        self.seats[request.key.index()].metrics.take()
    }

    /// Makes the key free for others.
    pub(super) fn forget(&mut self, key: RequestKey) {
        self.ids.release(key);
    }

    /// Takes out everything that is still alive, in the order of arrival.
    pub(super) fn take_all(&mut self) -> Vec<(RequestKey, RequestMetrics)> {
        let mut alive: Vec<_> = std::mem::take(&mut self.seats)
            .into_iter()
            .enumerate()
            .filter_map(|(index, seat)| Some((RequestKey(index as u32), seat.metrics?)))
            .collect();
        alive.sort_by_key(|(_, metrics)| metrics.ordinal);
        alive
    }
}

/// The request in its seat. Takes the seats alone, so that the names stay free for an error.
#[inline]
fn seated<'a>(
    seats: &'a mut [Seat],
    hook: &'static str,
    request: RequestHandle,
) -> Result<&'a mut RequestMetrics, HookError> {
    seats
        .get_mut(request.key.index())
        .filter(|seat| seat.generation == request.generation)
        .and_then(|seat| seat.metrics.as_mut())
        .ok_or(HookError::UnknownRequest { hook })
}

#[cold]
fn illegal(
    ids: &IdTable,
    hook: &'static str,
    key: RequestKey,
    from: State,
    to: State,
) -> HookError {
    HookError::IllegalTransition { hook, id: ids.id(key).to_owned(), from, to }
}
