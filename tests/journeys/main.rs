//! The real tools against real servers: one file per subject.

mod fidelity;
mod names;
mod round_trip;
mod server_dies;
