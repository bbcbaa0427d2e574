//! The operator against a real kube-apiserver with etcd: as its own user, with the rights and admission policies of
//! `manifests/install.yaml`. No pod ever runs; an actor writes what kubelets and controllers would.
//!
//! All tests share one control plane and one operator; each has hospitals of its own. What the operator asked for is read
//! from the API server's audit log.

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

mod reconcile {
    mod actor;
    mod arrival;
    mod autoscale;
    mod crash;
    mod deletion;
    mod drift;
    mod election;
    mod gaps;
    mod gate;
    mod hospital;
    mod install;
    mod interference;
    mod leaks;
    mod log;
    mod named;
    mod partial;
    mod pause;
    mod ready;
    mod refusal;
    mod release;
    mod repair;
    mod rotation;
    mod secrecy;
    mod shape;
    mod trouble;
    mod waves;
    mod world;
}
