//! # his-operator
//!
//! Runs secure hospital information systems on Kubernetes.
//!
//! One way through: observe → plan → render → apply → report. Only [`cluster`] writes to the API server; everything
//! under [`tenant`], [`objects`] and [`capabilities`] is pure.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::unchecked_time_subtraction,
        clippy::needless_pass_by_value,
        clippy::items_after_statements,
        clippy::range_plus_one,
        clippy::single_match,
        reason = "tests read clocks and build throw-away values"
    )
)]

pub mod agent;
pub mod api;
pub mod ask;
pub mod capabilities;
pub mod cluster;
pub mod conditions;
pub mod error;
pub mod foreign;
pub mod generate;
pub mod metrics;
pub mod names;
pub mod objects;
pub mod operator;
pub mod plugin;
pub mod ports;
pub mod reconcile;
pub mod render;
pub mod secrecy;
pub mod serve;
pub mod settings;
pub mod telemetry;
pub mod tenant;
