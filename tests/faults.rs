//! Whatever goes wrong between the operator and the API server, hospitals become what they had to, and nothing else happens.
//!
//! A proxy that speaks TLS to both sides breaks requests on purpose and keeps a trace of all. Many plans run at once, each on a
//! hospital of its own. `HIS_PLAN=<id>` runs one plan alone; `HIS_FULL=1` runs thousands of plans instead of hundreds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::default_trait_access,
    clippy::needless_pass_by_value,
    reason = "a test may stop at once, and plays the part of everybody else in the cluster"
)]

mod support;

mod faults {
    mod batch;
    mod frozen;
    mod leaders;
    mod oracle;
    mod plan;
    mod plans;
    mod proxy;
    mod states;
    mod steps;
    mod stream;
    mod trace;
    mod watches;
    mod witness;
    mod world;

    #[allow(dead_code, reason = "shared with the reconcile tests, which use the rest")]
    #[path = "../reconcile/actor.rs"]
    mod actor;
    #[allow(dead_code, reason = "shared with the reconcile tests, which use the rest")]
    #[path = "../reconcile/hospital.rs"]
    mod hospital;
    #[allow(dead_code, reason = "shared with the reconcile tests, which use the rest")]
    #[path = "../reconcile/install.rs"]
    mod install;
    #[path = "../reconcile/leaks.rs"]
    mod leaks;
    #[allow(dead_code, reason = "shared with the reconcile tests, which use the rest")]
    #[path = "../reconcile/log.rs"]
    mod log;
    #[allow(dead_code, reason = "shared with the reconcile tests, which use the rest")]
    #[path = "../reconcile/shape.rs"]
    mod shape;
}
