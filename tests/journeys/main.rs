//! The real tools against real servers: one file per subject.
