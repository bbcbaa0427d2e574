//! Container images of the test cluster, built on this machine.
