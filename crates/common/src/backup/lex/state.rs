//! What the lexer is in the middle of.

use memchr::memchr2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Sql,
    /// One `-` or `/` seen.
    Dash,
    Slash,
    /// In a `--` comment; `top` where no statement is open.
    Comment {
        top: bool,
    },
    /// In `/* */`; the byte before, for `*/` and `/*`.
    Block {
        depth: u32,
        before: u8,
    },
    /// In '…'; `escape` where backslash escapes, `skip` where the byte before was such a backslash.
    Quote {
        escape: bool,
        skip: bool,
    },
    /// Behind a quote that may have been the first of a doubled one.
    QuoteEnd {
        escape: bool,
    },
    Identifier,
    /// Collecting the tag of a dollar quote.
    Tag,
    /// In a dollar quote, this many bytes of its closing tag matched.
    Dollar {
        matched: usize,
    },
    Meta,
    /// Between the semicolon of a COPY and the newline that its rows follow.
    RowsStart,
    Rows,
}

/// How many bytes can be passed over because none of them matters in this state.
pub(super) fn skip(state: State, bytes: &[u8]) -> usize {
    let found = match state {
        // Newlines matter everywhere, for the count of lines.
        State::Quote { escape: false, skip: false } => memchr2(b'\'', b'\n', bytes),
        State::Quote { escape: true, skip: false } => memchr::memchr3(b'\'', b'\\', b'\n', bytes),
        State::Dollar { matched: 0 } => memchr2(b'$', b'\n', bytes),
        State::Identifier => memchr2(b'"', b'\n', bytes),
        _ => return 0,
    };
    found.unwrap_or(bytes.len())
}

pub(super) fn is_word_byte(byte: u8) -> bool {
    byte == b'_' || byte == b'$' || byte >= 0x80 || byte.is_ascii_alphanumeric()
}
