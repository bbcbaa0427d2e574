//! API group `his-operator.io`, version `v1alpha1`.
//!
//! Every field is optional unless a hospital cannot exist without it; secure defaults live in code, never in the schema,
//! so that a tightening reaches hospitals that exist.

#![allow(clippy::duplicated_attributes, reason = "kube's derive takes one line per derived trait and per column")]

mod application;
mod component;
mod network;
mod platform;
mod probe;
mod release;
mod status;
mod tenant;

pub use application::*;
pub use component::*;
pub use network::*;
pub use platform::*;
pub use probe::*;
pub use release::*;
pub use status::*;
pub use tenant::*;
