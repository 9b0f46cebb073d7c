//! Killed at any instant, a run leaves no bad backup and takes away none; the next run sweeps.
