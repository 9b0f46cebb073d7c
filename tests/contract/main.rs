//! What holds for every tool, checked in seconds and, but for one page's examples, without a server.
//!
//! ```text
//! layout              the tree: what lies where, who may import whom, who may print
//! man, completion     what is rendered from the definitions of the options, and the pages by hand
//! streams, formats    what a tool says, and where
//! layers, journal     what a tool listens to, and what it leaves behind
//! messages            how they are worded
//! release             what a shipped program must not hold
//! ```

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod completion;
mod formats;
mod journal;
mod layers;
mod layout;
mod man;
mod messages;
mod pages;
mod places;
mod release;
mod rendered;
mod streams;
