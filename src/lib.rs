//! # his-operator
//!
//! Runs secure hospital information systems on Kubernetes.
//!
//! One way through: observe → plan → render → apply → report. Only [`cluster`] writes to the API server; everything
//! under [`tenant`], [`objects`] and [`capabilities`] is pure.

pub mod agent;
pub mod api;
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
pub mod serve;
pub mod reconcile;
pub mod render;
pub mod settings;
pub mod telemetry;
pub mod tenant;
