//! Says whether this replica may still write.
//!
//! Guarantees: judged on the monotonic clock, from the moment *before* the last successful renewal was sent, so that no
//! jump of the wall clock and no slow answer can stretch the permission beyond the lease.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::{Duration, Instant};

const OPEN: u64 = u64::MAX;

/// Shared permission to write until a deadline.
#[derive(Clone, Debug)]
pub struct Fence(Arc<State>);

#[derive(Debug)]
struct State {
    start: Instant,
    /// Milliseconds after `start`; 0 is closed, [`OPEN`] has no deadline.
    until: AtomicU64,
}

impl Fence {
    /// Always permits: for tests and for a single replica without a lease.
    pub fn open() -> Self {
        Self::until(OPEN)
    }

    /// Permits nothing until [`Self::extend`].
    pub fn closed() -> Self {
        Self::until(0)
    }

    fn until(until: u64) -> Self {
        Self(Arc::new(State { start: Instant::now(), until: AtomicU64::new(until) }))
    }

    /// Permits until this time.
    pub fn extend(&self, until: Instant) {
        let elapsed = until.saturating_duration_since(self.0.start).as_millis();
        self.0.until.store(u64::try_from(elapsed).unwrap_or(OPEN - 1).min(OPEN - 1), Ordering::Release);
    }

    /// Permits nothing any more.
    pub fn close(&self) {
        self.0.until.store(0, Ordering::Release);
    }

    /// How long a request that is sent now may take, at most `wish`; `None` when nothing may be sent.
    pub fn permit(&self, wish: Duration) -> Option<Duration> {
        let until = self.0.until.load(Ordering::Acquire);
        if until == OPEN {
            return Some(wish);
        }
        let deadline = self.0.start + Duration::from_millis(until);
        let left = deadline.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left.min(wish))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Duration = Duration::from_secs(10);

    #[test]
    fn permits_exactly_until_the_deadline_and_never_longer_than_it() {
        let fence = Fence::closed();
        assert_eq!(fence.permit(WISH), None);
        fence.extend(Instant::now() + Duration::from_secs(2));
        assert!(fence.permit(WISH).unwrap() <= Duration::from_secs(2));
        fence.extend(Instant::now() + Duration::from_secs(100));
        assert_eq!(fence.permit(WISH), Some(WISH));
        fence.close();
        assert_eq!(fence.permit(WISH), None);
        fence.extend(Instant::now());
        assert_eq!(fence.permit(WISH), None);
    }

    #[test]
    fn an_open_fence_has_no_deadline() {
        assert_eq!(Fence::open().permit(WISH), Some(WISH));
    }
}
