//! What can go wrong in a reconcile, and who can mend it.
//!
//! Guarantees: messages carry names and reasons, never secret values or patient data.

use crate::{cluster, conditions::Rejection};

/// Who or what ends a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The spec is wrong: wait for an edit.
    Terminal,
    /// A dependency is not there yet: its watch wakes us.
    Waiting,
    /// It may pass by itself: back off with jitter.
    Transient,
}

impl ErrorClass {
    /// Value of the metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Waiting => "waiting",
            Self::Transient => "transient",
        }
    }
}

/// Failure of one reconcile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, did not answer, or was not asked because the lease is lost.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The spec cannot be acted upon.
    #[error(transparent)]
    Plan(#[from] Rejection),
}

impl Error {
    /// Who can mend it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Cluster(error) => error.class(),
            Self::Plan(rejection) if rejection.waiting => ErrorClass::Waiting,
            Self::Plan(_) => ErrorClass::Terminal,
        }
    }
}
