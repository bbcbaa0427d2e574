//! Stand-in for a NetworkPolicy engine: compiles policies to nftables sets.
