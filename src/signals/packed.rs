//! Zip files, as ENTSO-E sends some answers: one or more XML documents, within a size that holds for all of them together.
//!
//! A zip file says of itself how many members it has and how large they are. Nothing is made room for because it says so: members are
//! counted before the directory is read, and each is read no further than it says, and than there is room.

use super::wrong::short;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// The most bytes of an answer, as it is sent and as it is unpacked: three days of quarters of an hour of twenty types of plants are half
/// a MiB as XML.
pub const MOST_BYTES: usize = 8 << 20;

/// The most documents of an answer: as many as ENTSO-E's guide lets one have.
const MOST_MEMBERS: usize = 200;

/// What begins each entry of the directory.
const ENTRY: &[u8] = b"PK\x01\x02";

/// What tells of a directory in the large form, which says with 64 bits how much is to come. Only what is far too large needs it.
const LARGE: &[u8] = b"PK\x06\x07";

/// Why nothing is taken from a zip file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// It is no zip file, or is damaged, locked, or packed in another way.
    #[error("the answer is not a zip file that can be read: {0}")]
    Broken(String),
    /// It has no member.
    #[error("the answer is a zip file with nothing in it")]
    Nothing,
    /// It has too many members.
    #[error("the answer is a zip file of more than {most} documents: ask for less")]
    TooMany {
        /// How many there may be.
        most: usize,
    },
    /// Unpacked it is too large.
    #[error("the answer has more than {most} bytes when it is unpacked, the most that is read")]
    TooLarge {
        /// How many there may be.
        most: usize,
    },
    /// A member is not as large as it says.
    #[error("document {number} of the zip file says that it has {said} bytes, and has {found}")]
    OtherSize {
        /// Which, from 1. Names are not told: a server may write what it likes there.
        number: usize,
        /// What it says.
        said: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// Members lie over each other, or two have one name.
    #[error("the answer is a zip file whose documents are not each in one place under one name")]
    Overlapping,
    /// The name of a member leads out of its folder.
    #[error("document {number} of the zip file has a path that leads elsewhere in place of a name")]
    Path {
        /// Which, from 1.
        number: usize,
    },
    /// A member is no XML.
    #[error("document {number} of the zip file is not named as XML is: nothing of the answer is used")]
    NotXml {
        /// Which, from 1.
        number: usize,
    },
}

impl PackedError {
    /// Its fixed name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Broken(_) => "Broken",
            Self::Nothing => "Nothing",
            Self::TooMany { .. } => "TooMany",
            Self::TooLarge { .. } => "TooLarge",
            Self::OtherSize { .. } => "OtherSize",
            Self::Overlapping => "Overlapping",
            Self::Path { .. } => "Path",
            Self::NotXml { .. } => "NotXml",
        }
    }
}

/// The documents of a zip file, which together have at most `most` bytes.
///
/// # Errors
/// It is damaged, too large, or has something else in it: then nothing of it is taken.
pub fn unpacked(bytes: &[u8], most: usize) -> Result<Vec<Vec<u8>>, PackedError> {
    let broken = |error: &dyn std::fmt::Display| PackedError::Broken(short(&error.to_string()));
    let has = |what: &'static [u8]| bytes.windows(what.len()).filter(move |here| *here == what);
    if has(LARGE).next().is_some() {
        return Err(PackedError::TooLarge { most });
    }
    // before the directory is read: its entries take more room than they have bytes. What is packed may look like one, hardly ever
    if has(ENTRY).nth(MOST_MEMBERS).is_some() {
        return Err(PackedError::TooMany { most: MOST_MEMBERS });
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(&error))?;
    if archive.is_empty() {
        return Err(PackedError::Nothing);
    }
    // each byte that was sent is unpacked once: else the time for it would grow with members times bytes
    if archive.has_duplicate_names() || archive.has_overlapping_entries().map_err(|error| broken(&error))? {
        return Err(PackedError::Overlapping);
    }
    let mut documents = Vec::new();
    let mut left = most;
    for i in 0..archive.len() {
        let member = archive.by_index(i).map_err(|error| broken(&error))?;
        let number = i + 1;
        let name = String::from_utf8_lossy(member.name_raw()).to_ascii_lowercase();
        if name.starts_with('/') || name.contains(['\\', ':', '\0']) || name.split('/').any(|part| part == "..") {
            return Err(PackedError::Path { number });
        }
        if !(name.ends_with(".xml") && member.is_file()) {
            return Err(PackedError::NotXml { number });
        }
        let said = member.size();
        let room = usize::try_from(said).ok().filter(|said| *said <= left).ok_or(PackedError::TooLarge { most })?;
        let mut document = Vec::with_capacity(room);
        member.take(said.saturating_add(1)).read_to_end(&mut document).map_err(|error| broken(&error))?;
        if document.len() != room {
            return Err(PackedError::OtherSize { number, said, found: document.len() as u64 });
        }
        left -= room;
        documents.push(document);
    }
    Ok(documents)
}
