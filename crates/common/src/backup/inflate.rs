//! Inflates one DEFLATE stream of known size, and tells where it ended.
//!
//! libdeflater's own `Decompressor` does not say how many bytes it read, so what stands between the end of a stream and
//! the trailer of its member would go unseen by us, and be read by `gunzip`. This is that one call of libdeflate.
#![expect(unsafe_code, reason = "libdeflate is C, and no safe crate has deflate_decompress_ex")]

use anyhow::{Result, anyhow, ensure};
use libdeflate_sys as sys;
use std::ptr::NonNull;

/// The state of libdeflate for one thread.
pub(super) struct Libdeflate(NonNull<sys::libdeflate_decompressor>);

// SAFETY: libdeflate keeps nothing of a thread in it; it only must not be used by two at once, and `inflate` takes `&mut`.
unsafe impl Send for Libdeflate {}

impl Libdeflate {
    pub(super) fn new() -> Result<Self> {
        // SAFETY: takes no argument; null where there is no memory.
        let state = unsafe { sys::libdeflate_alloc_decompressor() };
        NonNull::new(state).map(Self).ok_or_else(|| anyhow!("no memory for libdeflate"))
    }

    /// Inflates `body`, all of it, into all of `plain`.
    ///
    /// # Errors
    ///
    /// Where the stream is damaged, holds more or less than `plain`, or ends before `body` does.
    pub(super) fn inflate(&mut self, body: &[u8], plain: &mut [u8]) -> Result<()> {
        let (mut read, mut written) = (0, 0);
        // SAFETY: the state lives until `drop`; pointers and lengths are those of slices that live as long as the call, which
        // reads no more than `body.len()` and writes no more than `plain.len()` bytes, and two numbers of ours.
        let result = unsafe {
            sys::libdeflate_deflate_decompress_ex(
                self.0.as_ptr(),
                body.as_ptr().cast(),
                body.len(),
                plain.as_mut_ptr().cast(),
                plain.len(),
                &mut read,
                &mut written,
            )
        };
        match result {
            sys::libdeflate_result_LIBDEFLATE_SUCCESS => {}
            sys::libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => {
                return Err(anyhow!("it holds more than {} bytes", plain.len()));
            }
            _ => return Err(anyhow!("it cannot be inflated")),
        }
        ensure!(written == plain.len(), "it holds {written} bytes, not {}", plain.len());
        ensure!(read == body.len(), "{} bytes stand behind its end", body.len() - read);
        Ok(())
    }
}

impl Drop for Libdeflate {
    fn drop(&mut self) {
        // SAFETY: made by `libdeflate_alloc_decompressor`, and given back once.
        unsafe { sys::libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `abc` in a stored block: BFINAL, length, its complement, the bytes (RFC 1951, 3.2.4).
    const ABC: [u8; 8] = [1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c'];

    #[test]
    fn a_stream_fills_what_it_is_inflated_into() {
        let mut plain = [0; 3];

        Libdeflate::new().unwrap().inflate(&ABC, &mut plain).unwrap();

        assert_eq!(&plain, b"abc");
    }

    #[test]
    fn bytes_behind_the_end_of_the_stream_are_an_error() {
        let error = Libdeflate::new().unwrap().inflate(&[&ABC[..], b"xy"].concat(), &mut [0; 3]).unwrap_err();

        assert_eq!(error.to_string(), "2 bytes stand behind its end");
    }

    #[test]
    fn another_length_is_an_error() {
        let told = |length| Libdeflate::new().unwrap().inflate(&ABC, &mut vec![0; length]).unwrap_err().to_string();

        assert_eq!(told(4), "it holds 3 bytes, not 4");
        assert_eq!(told(2), "it holds more than 2 bytes");
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        assert!(Libdeflate::new().unwrap().inflate(&ABC[..7], &mut [0; 3]).is_err());
        assert!(Libdeflate::new().unwrap().inflate(&[], &mut []).is_err());
    }
}
