//! Answers that come as zip files, as ENTSO-E's guide has them: read over HTTP within one bound, or refused in words.

use crate::survives::{germany as documents_of, holds_unpacked};
use heliotrope::core::signal::What;
use heliotrope::fetch::{FetchError, Fetcher, Limits, Tokens};
use heliotrope::signals::{About, PackedError, Source, unpacked};
use heliotrope::units::Moment;
use proptest::prelude::*;
use std::io::{Cursor, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const MOST: usize = 1 << 20;
const TOKEN: &str = "s3cret+key/of=mine";

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    packed(members, CompressionMethod::Deflated)
}

fn packed(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Generation of one type of plants, 100 MW in one hour and another.
fn plants(kind: &str, made: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><GL_MarketDocument><type>A75</type><createdDateTime>{made}</createdDateTime><TimeSeries>
        <inBiddingZone_Domain.mRID>10Y1001A1001A82H</inBiddingZone_Domain.mRID><quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name>
        <MktPSRType><psrType>{kind}</psrType></MktPSRType><curveType>A03</curveType><Period><timeInterval><start>2026-10-24T22:00Z</start>
        <end>2026-10-25T00:00Z</end></timeInterval><resolution>PT60M</resolution><Point><position>1</position><quantity>100</quantity></Point>
        </Period></TimeSeries></GL_MarketDocument>"#
    )
}

fn germany() -> Source {
    documents_of("A75")
}

/// What our client makes of that body over HTTP, with a token.
async fn asked(kind: &str, body: Vec<u8>) -> Result<Vec<Vec<u8>>, FetchError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("entsoe"), TOKEN).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut question = vec![0; 8192];
        let length = stream.read(&mut question).await.unwrap();
        let _ = stream.write_all(&[head.into_bytes(), body].concat()).await;
        String::from_utf8_lossy(&question[..length]).into_owned()
    });
    let now: Moment = "2026-10-25T00:10:00Z".parse().unwrap();
    let about = About { zone: "DE-LU", what: What::CarbonIntensity, now, url: Some(&url), words: None };
    let limits = Limits { bytes: MOST, ..Limits::default() };
    let fetcher = Fetcher::new(Tokens::in_folder(folder.path()), limits);
    let answer = fetcher.ask(&germany().request(&about, Some("entsoe".to_owned())), now).await;
    assert!(served.await.unwrap().contains("accept: application/xml, text/xml, application/zip\r\n"));
    answer
}

#[tokio::test]
async fn the_documents_of_a_zip_file_are_one_answer() {
    let [coal, wind] =
        [("B05", "2026-10-25T00:05:00Z"), ("B19", "2026-10-25T00:01:00Z")].map(|(kind, made)| plants(kind, made));
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let body = packed(&[("coal.xml", coal.as_bytes()), ("2026/WIND.XML", wind.as_bytes())], method);
        let documents = asked("application/zip", body).await.unwrap();
        let answer = germany().read_all(&documents).unwrap();
        assert_eq!(answer.rows.len(), 2);
        for row in &answer.rows {
            // (820 + 11) / 2 = 415.5 g/kWh: wind alone would be green. Of the times at which they were made the older counts
            assert_eq!(row.value.as_ref().unwrap().to_string(), "415500");
            assert_eq!(row.issued, Some("2026-10-25T00:01:00Z".parse().unwrap()));
        }
    }
    // one document is read as if it had not been packed
    let documents = asked("application/x-zip-compressed; x=y", zipped(&[("a.xml", coal.as_bytes())])).await.unwrap();
    assert_eq!(germany().read_all(&documents).unwrap(), germany().read(coal.as_bytes()).unwrap());
}

#[tokio::test]
async fn a_part_that_is_missing_or_something_else_makes_the_answer_none() {
    let coal = plants("B05", "2026-10-25T00:05:00Z");
    let reason = format!("no wind, {TOKEN}");
    let none = format!(
        "<Acknowledgement_MarketDocument><Reason><code>999</code><text>{reason}</text></Reason></Acknowledgement_MarketDocument>"
    );
    let other = coal.replace("A75", "A44");
    for (second, said) in [
        (none.as_str(), "the provider says: 999: no wind, (token)"),
        (&other, "`type` is `A44`, and not the document that was asked for"),
        ("%PDF-1.7", "the answer is not XML: unknown token at 1:1"),
    ] {
        let body = zipped(&[("a.xml", coal.as_bytes()), ("b.xml", second.as_bytes())]);
        let documents = asked("application/zip", body).await.unwrap();
        assert_eq!(germany().read_all(&documents).unwrap_err().to_string(), said);
    }
    // nobody else packs
    let error = Source::Uk.read_all(&[b"{}".to_vec(), b"{}".to_vec()]).unwrap_err();
    assert_eq!(error.to_string(), "`the answer` is `2`, and not one document");
}

/// A number of two or four bytes of the last entry of the directory, and of its own header, written anew.
fn forged(mut bytes: Vec<u8>, central: usize, local: usize, value: &[u8]) -> Vec<u8> {
    for (begins, offset) in [(b"PK\x01\x02", central), (b"PK\x03\x04", local)] {
        let at = bytes.windows(4).rposition(|here| here == begins).unwrap() + offset;
        bytes[at..at + value.len()].copy_from_slice(value);
    }
    bytes
}

fn renamed(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes;
    while let Some(at) = bytes.windows(from.len()).position(|here| here == from.as_bytes()) {
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[tokio::test]
async fn what_is_too_large_or_forged_is_refused_in_words() {
    let small = || zipped(&[("a.xml", b"<a/>"), ("b.xml", &[b'b'; 1000])]);
    let stored = packed(&[("a.xml", &[b'a'; 600]), ("b.xml", &[b'b'; 600])], CompressionMethod::Stored);
    let bomb = zipped(&[("a.xml", &vec![b' '; 16 * MOST])]);
    let many: Vec<String> = (0..201).map(|i| format!("{i}.xml")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"<a/>"[..])).collect();
    assert!(bomb.len() < MOST / 10);
    let directory = stored.windows(4).rposition(|here| here == b"PK\x01\x02").unwrap();
    // the second document is where the first is
    let mut over = stored.clone();
    over[directory + 42..directory + 46].copy_from_slice(&[0; 4]);
    // another byte than the sum of it is of
    let mut other = stored.clone();
    let at = other.windows(4).rposition(|here| here == b"bbbb").unwrap();
    other[at] = b'c';
    let half = small().len() / 2;
    let ours = packed(&[("a.xml", TOKEN.as_bytes())], CompressionMethod::Stored);
    for (body, name, said) in [
        (bomb.clone(), "TooLarge", "the answer has more than 1048576 bytes when it is unpacked, the most that is read"),
        // of a bomb that says that it is small no more is unpacked
        (
            forged(bomb, 24, 22, &10_u32.to_le_bytes()),
            "Broken",
            "the answer is not a zip file that can be read: File is larger than its declared uncompressed size",
        ),
        (
            forged(small(), 24, 22, &1001_u32.to_le_bytes()),
            "OtherSize",
            "document 2 of the zip file says that it has 1001 bytes, and has 1000",
        ),
        // each fits, both do not
        (zipped(&[("a.xml", &vec![b' '; MOST / 2 + 1]), ("b.xml", &vec![b' '; MOST / 2])]), "TooLarge", ""),
        (zipped(&many), "TooMany", "the answer is a zip file of more than 200 documents: ask for less"),
        (zipped(&[]), "Nothing", "the answer is a zip file with nothing in it"),
        (
            zipped(&[("a.xml", b"<a/>"), ("readme.txt", b"x")]),
            "NotXml",
            "document 2 of the zip file is not named as XML is: nothing of the answer is used",
        ),
        (
            renamed(zipped(&[("aaaaa.xml", b"<a/>")]), "aaaaa.xml", "../x/.xml"),
            "Path",
            "document 1 of the zip file has a path that leads elsewhere in place of a name",
        ),
        (renamed(small(), "a.xml", "/.xml"), "Path", ""),
        (renamed(small(), "a.xml", "\\.xml"), "Path", ""),
        (
            renamed(small(), "b.xml", "a.xml"),
            "Overlapping",
            "the answer is a zip file whose documents are not each in one place under one name",
        ),
        (over, "Overlapping", ""),
        (other, "Broken", "the answer is not a zip file that can be read: Invalid checksum"),
        (small()[..half].to_vec(), "Broken", ""),
        (b"<a/>".to_vec(), "Broken", ""),
        (Vec::new(), "Broken", ""),
        // locked, and packed by another method
        (forged(small(), 8, 6, &[1, 0]), "Broken", ""),
        (forged(small(), 10, 8, &[14, 0]), "Broken", ""),
        // a token in the name
        (renamed(ours, "a.xml", "a.txt"), "NotXml", ""),
        ([small(), b"PK\x06\x07".to_vec()].concat(), "TooLarge", ""),
    ] {
        let error = asked("application/zip", body).await.unwrap_err();
        let FetchError::Packed { at, why } = &error else { panic!("{name}: {error}") };
        assert_eq!((why.name(), at.as_str()), (name, "127.0.0.1/api"), "{why}");
        assert!(said.is_empty() || why.to_string() == said, "{why}");
        assert!(!why.to_string().is_empty() && !error.to_string().contains(TOKEN));
    }
    // said to be XML, and packed
    let documents = asked("text/xml", small()).await.unwrap();
    assert!(germany().read_all(&documents).unwrap_err().to_string().starts_with("the answer is not "));
    let large = asked("application/zip", vec![b'P'; MOST + 1]).await.unwrap_err();
    assert_eq!(large.name(), "TooLarge");
}

#[test]
fn a_zip_file_cut_anywhere_is_none() {
    let text = plants("B05", "2026-10-25T00:05:00Z");
    let whole = zipped(&[("a.xml", text.as_bytes()), ("b.xml", text.as_bytes())]);
    assert!(unpacked(&whole, MOST).is_ok());
    for length in 0..whole.len() {
        assert!(matches!(unpacked(&whole[..length], MOST), Err(PackedError::Broken(_))), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_mutation_of_a_zip_file_takes_more_than_its_room(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u32>(), 1..5_usize), 1..5),
        most in 0..3000_usize,
    ) {
        let text = plants("B05", "2026-10-25T00:05:00Z");
        let mut bytes = zipped(&[("a.xml", text.as_bytes()), ("b.xml", text.as_bytes())]);
        for (place, value, count) in edits {
            let from = place.index(bytes.len());
            let until = (from + count).min(bytes.len());
            bytes[from..until].copy_from_slice(&value.to_le_bytes()[..until - from]);
        }
        holds_unpacked(&bytes, most);
    }
}
