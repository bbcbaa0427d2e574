//! A real Kubernetes on one Linux machine: programs, images, a control plane for tests, and a two-node cluster.
//!
//! Guarantees that everything it starts can be stopped by what it wrote down, and that nothing it runs can reach
//! an address outside this machine. Must never depend on the product crate: the product's own tests depend on this one.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test may stop at once"
    )
)]

pub mod bench;
pub mod cluster;
pub mod control_plane;
pub mod demo;
pub mod forward;
pub mod images;
pub mod knock;
pub mod kubelets;
pub mod mutants;
pub mod netpol;
pub mod outside;
pub mod packages;
pub mod parts;
pub mod paths;
pub mod progress;
pub mod readme;
pub mod scenarios;
pub mod shell;
mod tools;
pub mod verify;
