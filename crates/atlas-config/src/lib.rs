//! Settings from the environment, as live snapshots.
