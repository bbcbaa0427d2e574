//! The only part that talks to the API server.
//!
//! Guarantees: reads come from caches that watches keep current ([`Caches`]); every write goes through [`Writer`], which asks
//! the [`Fence`] first, so that a replica that may have lost its lease changes nothing.

mod caches;
mod connect;
mod custom;
mod error;
mod fence;
mod follow;
mod hosts;
mod index;
mod lease;
mod packed;
mod pods;
mod sinks;
mod supervisor;
mod tenants;

pub use caches::Caches;
pub use connect::{Connections, Error as ConnectError};
pub use error::{Error, Verb};
pub use fence::Fence;
pub use lease::{Candidate, Election, Timing};
