//! observe → plan → render → apply → report, for one hospital.

pub mod apply;
pub mod pass;
pub mod report;
