//! Custom resources, by version.

pub mod v1alpha1;
