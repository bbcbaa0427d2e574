//! The only part that talks to the API server.
//!
//! Guarantees: reads come from caches that watches keep current ([`Caches`]); every write goes through [`Writer`], which asks
//! the [`Fence`] first, so that a replica that may have lost its lease changes nothing.

mod caches;
mod channels;
mod connect;
mod custom;
mod disturbed;
mod doors;
mod error;
mod events;
mod fence;
mod follow;
mod hosts;
mod index;
mod keep;
mod lease;
mod packed;
mod pause;
mod pods;
mod sinks;
mod supervisor;
mod tenants;
mod writer;

pub use caches::Caches;
pub use connect::{Connections, Error as ConnectError};
pub use error::{Error, Verb};
pub use fence::Fence;
pub use keep::{needs_rescue, twin_of};
pub use lease::{Candidate, Election, Timing};
pub use pause::pause;
pub use writer::Writer;

use crate::{
    names,
    objects::kind::{Kind, Retention, Scope, Watch},
};

/// A tenant as an object, for addresses in messages and metrics.
const TENANT: Kind = Kind {
    group: names::GROUP,
    version: names::VERSION,
    kind: "HospitalTenant",
    plural: "hospitaltenants",
    scope: Scope::Cluster,
    retention: Retention::Data,
    watch: Watch::Cluster,
    crd: None,
    unread: &[],
    reason: "what is reconciled; only its status and finalizer are written",
};
