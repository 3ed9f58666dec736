//! Tokens from mounted files. They are read anew for each question, so that one that was changed is used at once, and shown to nobody.

use super::regular;
use crate::signals::{encoded, is_plain};
use std::io::Read;
use std::path::PathBuf;

/// The longest token.
const MOST: u64 = 8192;

/// A folder of tokens, as a Secret is mounted: one file each.
#[derive(Debug, Clone)]
pub struct Tokens {
    folder: PathBuf,
}

/// A token. Neither `{:?}` nor an error shows it.
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Tokens {
    /// Tokens of this folder.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The token of a name, which is a file of the folder and no path: a signal can't send another file of the container away.
    ///
    /// # Errors
    /// In words, without a letter of the file.
    pub fn read(&self, name: &str) -> Result<Secret, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 253 || name.starts_with('.') || !name.bytes().all(is_plain) {
            return Err(format!("token `{name}`: a name of letters, digits, `-`, `_` and `.` is needed, and no path"));
        }
        let path = self.folder.join(name);
        let failed = |why: &dyn std::fmt::Display| format!("token {}: {why}", path.display());
        let mut text = String::new();
        let file = regular::open(&path).map_err(|why| failed(&why))?;
        file.take(MOST + 1).read_to_string(&mut text).map_err(|_| failed(&"can't be read as text"))?;
        let token = text.trim();
        if token.is_empty() || text.len() as u64 > MOST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(failed(&"has no token: one word of at most 8192 plain letters"));
        }
        Ok(Secret(token.to_owned()))
    }
}

impl Secret {
    /// What a login gave. It is one word, as a token of a file is.
    pub(super) fn given(text: String) -> Self {
        Self(text)
    }

    /// A user and a password as one word (RFC 7617).
    pub(super) fn basic(user: &Self, password: &Self) -> Self {
        Self(base64(format!("{}:{}", user.0, password.0).as_bytes()))
    }

    pub(super) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn show(&self) -> &str {
        &self.0
    }

    /// As part of a query. Keys of data.go.kr are given out encoded already, which shows by their `%`.
    pub(super) fn in_query(&self) -> String {
        let is_encoded = self.0.contains('%') && self.0.bytes().all(|byte| is_plain(byte) || byte == b'%');
        if is_encoded { self.0.clone() } else { encoded(&self.0) }
    }

    /// What a server said, without the token where it said it, plain or encoded. A few letters are no secret, and stand in many words.
    pub(super) fn hidden_in(&self, body: Vec<u8>) -> Vec<u8> {
        const SECRET: usize = 8;
        let text = String::from_utf8_lossy(&body);
        let known = [self.0.clone(), self.in_query()];
        if self.0.len() < SECRET || !known.iter().any(|known| text.contains(known)) {
            return body;
        }
        known.iter().fold(text.into_owned(), |text, known| text.replace(known, "(token)")).into_bytes()
    }
}

/// Bytes as letters (RFC 4648): three bytes are four letters.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let each = |three: &[u8]| {
        let bits = (0..3).fold(0_usize, |bits, i| bits << 8 | usize::from(three.get(i).copied().unwrap_or(0)));
        let letter = move |i: usize| char::from(LETTERS[bits >> (18 - 6 * i) & 63]);
        let said = three.len() + 1;
        (0..4).map(move |i| if i < said { letter(i) } else { '=' })
    };
    bytes.chunks(3).flat_map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_as_in_the_rfc() {
        for (bytes, letters) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), letters);
        }
        // RFC 7617's own example
        let word = |text: &str| Secret(text.to_owned());
        assert_eq!(Secret::basic(&word("Aladdin"), &word("open sesame")).0, "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{:?}", word("x")), "Secret(..)");
    }
}
