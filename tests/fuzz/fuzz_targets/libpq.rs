//! What libpq itself reads of an address, by its `PQconninfoParse`: no connection, no file, no environment.
#![expect(unsafe_code, reason = "libpq is C, and loaded when the fuzzer starts")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;

/// libpq's `PQconninfoOption`, as libpq-fe.h has it since version 9.
#[repr(C)]
struct Raw {
    keyword: *const c_char,
    envvar: *const c_char,
    compiled: *const c_char,
    value: *const c_char,
    label: *const c_char,
    dispchar: *const c_char,
    dispsize: c_int,
}

struct Libpq {
    // SAFETY: to be called with a C string and a place for a message; the array that comes back is for `free`.
    parse: unsafe extern "C" fn(*const c_char, *mut *mut c_char) -> *mut Raw,
    // SAFETY: to be called once with what `parse` returned.
    free: unsafe extern "C" fn(*mut Raw),
    // SAFETY: to be called once with a message that `parse` has put, or null.
    free_message: unsafe extern "C" fn(*mut c_void),
}

/// The library that `FUZZ_LIBPQ` names; `scripts/fuzz` sets it.
fn libpq() -> &'static Libpq {
    static LOADED: OnceLock<Libpq> = OnceLock::new();
    LOADED.get_or_init(|| {
        let path = std::env::var_os("FUZZ_LIBPQ").expect("FUZZ_LIBPQ names libpq.so.5; scripts/fuzz sets it");
        // SAFETY: libpq runs nothing when it is loaded; the types are those of libpq-fe.h; it is never unloaded.
        unsafe {
            let library = Box::leak(Box::new(libloading::Library::new(path).expect("load libpq")));
            Libpq {
                parse: *library.get(b"PQconninfoParse\0").expect("libpq has PQconninfoParse"),
                free: *library.get(b"PQconninfoFree\0").expect("libpq has PQconninfoFree"),
                free_message: *library.get(b"PQfreemem\0").expect("libpq has PQfreemem"),
            }
        }
    })
}

/// The keywords that an address sets, the password among them; `None` where libpq refuses it.
pub fn read(address: &str) -> Option<BTreeMap<String, String>> {
    let (libpq, address) = (libpq(), CString::new(address).ok()?);
    let mut message = std::ptr::null_mut();
    let mut values = BTreeMap::new();
    // SAFETY: `address` is a C string that lives until the end; what libpq allocates is read before it is given back, once;
    // the array ends with an option without a keyword.
    unsafe {
        let options = (libpq.parse)(address.as_ptr(), &mut message);
        if options.is_null() {
            (libpq.free_message)(message.cast());
            return None;
        }
        let text = |text: *const c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
        let mut at = options;
        while !(*at).keyword.is_null() {
            if !(*at).value.is_null() {
                values.insert(text((*at).keyword), text((*at).value));
            }
            at = at.add(1);
        }
        (libpq.free)(options);
    }
    Some(values)
}
