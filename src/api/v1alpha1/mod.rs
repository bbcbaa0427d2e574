//! API group `his-operator.io`, version `v1alpha1`.
//!
//! Every field is optional unless a hospital cannot exist without it; secure defaults live in code, never in the schema,
//! so that a tightening reaches hospitals that exist.

mod application;
mod platform;
mod status;
mod tenant;

pub use application::*;
pub use platform::*;
pub use status::*;
pub use tenant::*;
