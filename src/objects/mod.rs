//! Desired and observed Kubernetes objects, without a client.
//!
//! Guarantees: everything here is pure and ordered (no hash maps), so the same input renders the same bytes.

pub mod covers;
mod desired;
pub mod kind;
pub mod managed;
mod observed;

pub use covers::amount;
pub use desired::digest;
pub use desired::{Desired, Generated, Material, Object, Ref};
pub use kind::Kind;
pub use observed::{Disturbance, Observed, Problem, Report, Resolved, Turn, created, field, number};
