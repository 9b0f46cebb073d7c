//! A row whose end is in a later piece of the stream.

use xxhash_rust::xxh3::Xxh3;

pub(super) struct Partial {
    pub(super) hash: Box<Xxh3>,
    pub(super) length: u64,
    pub(super) start: [u8; 2],
}

impl Partial {
    pub(super) fn new() -> Self {
        Self { hash: Box::new(Xxh3::new()), length: 0, start: [0; 2] }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.start.iter_mut().skip(usize::try_from(self.length).unwrap_or(2)).zip(bytes) {
            *place = *byte;
        }
        self.length += bytes.len() as u64;
        self.hash.update(bytes);
    }
}
