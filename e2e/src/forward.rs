//! Loopback ports of the host, forwarded into the cluster network.
