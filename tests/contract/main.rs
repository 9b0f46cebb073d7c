//! What holds for every tool, checked in seconds and without a server.

mod layout;
