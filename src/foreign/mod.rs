//! Typed structs for kinds of other projects: only the fields that are written.

pub mod cilium;
pub mod cnpg;
pub mod gateway;
