//! Every reader, and what must hold of whatever arrives. The fuzzer in `fuzz/` asserts the same.

use heliotrope::core::signal::{Answer, Basis, Panels, Reading, Series, Sifted, Unit, Wanted, What, Zone, sift};
use heliotrope::signals::{Entsoe, OpenMeteo, Pointers, Query, Service, Source, unpacked};
use heliotrope::units::{Moment, Seconds, Watts};

pub fn at(text: &str) -> Moment {
    text.parse().unwrap()
}

pub fn judged(answer: &Answer, zone: &str, now: &str) -> Sifted {
    let wanted = Wanted {
        zone,
        what: answer.what,
        basis: answer.basis,
        currency: None,
        now: at(now),
        typical: None,
        steady: None,
    };
    sift(answer, &wanted)
}

pub fn finland() -> Source {
    Source::Entsoe(Entsoe { area: "10YFI-1--------U".to_owned(), document: "A69".to_owned() })
}

pub fn germany(document: &str) -> Source {
    Source::Entsoe(Entsoe { area: "10Y1001A1001A82H".to_owned(), document: document.to_owned() })
}

pub fn roof() -> OpenMeteo {
    let panels = Panels { peak: Watts(100_000), performance_permille: 860 };
    OpenMeteo { latitude: 50_266, longitude: -5_053, panels }
}

pub fn query() -> Source {
    Source::Prometheus(Query {
        what: What::CarbonIntensity,
        basis: Basis::LocationAverage,
        unit: Unit::GRAMS_PER_KWH,
        step: Seconds(300),
    })
}

pub fn pointers() -> Pointers {
    Pointers {
        rows: "/data".to_owned(),
        start: "/from".to_owned(),
        end: Some("/to".to_owned()),
        value: "/intensity/forecast".to_owned(),
        quantiles: Vec::new(),
        zone: None,
        issued: None,
        step: Seconds::HOUR,
        what: What::CarbonIntensity,
        basis: Basis::LocationAverage,
        unit: Unit::GRAMS_PER_KWH,
    }
}

/// All readers.
pub fn readers() -> Vec<Source> {
    let kpx = [Service::Load, Service::JejuLoad, Service::SumPerFuel, Service::ByGeneration].map(Source::Kpx);
    let entsoe = ["A44", "A65", "A69", "A75"].map(germany);
    let rest = [
        Source::ElectricityMaps,
        Source::EnergyCharts,
        Source::Uk,
        finland(),
        Source::OpenMeteo(roof()),
        query(),
        Source::Json(pointers()),
        Source::WattTime,
        Source::Eia,
        Source::CarbonAware(Basis::LocationAverage),
    ];
    kpx.into_iter().chain(entsoe).chain(rest).collect()
}

/// A reader does not panic, and what is judged is counted to the last row.
pub fn holds(source: &Source, bytes: &[u8]) {
    if let Ok(answer) = source.read(bytes) {
        used(&answer);
    }
}

/// The same of what is unpacked, which is no more than was allowed.
pub fn holds_unpacked(bytes: &[u8], most: usize) {
    if let Ok(documents) = unpacked(bytes, most) {
        assert!(documents.iter().map(Vec::len).sum::<usize>() <= most && (1..=200).contains(&documents.len()));
        for kind in ["A44", "A65", "A69", "A75"] {
            if let Ok(answer) = germany(kind).read_all(&documents) {
                used(&answer);
            }
        }
    }
}

/// What is used can be meant, whatever arrived.
fn used(answer: &Answer) {
    let zone = match &answer.zone {
        Zone::Said(zone) => zone.clone(),
        Zone::Only(zone) => (*zone).to_owned(),
        Zone::Asked | Zone::Missing => "any".to_owned(),
    };
    let now = at("2026-10-25T00:00:00Z");
    // as a signal that is new, and as one of which a day is known
    for (typical, steady) in [(None, None), (Some(400_000), Some(Seconds::DAY))] {
        let (what, basis) = (answer.what, answer.basis);
        let sifted = sift(answer, &Wanted { zone: &zone, what, basis, currency: None, now, typical, steady });
        assert!(sifted.readings.len() + sifted.refused.total() >= answer.rows.len());
        assert!(sifted.readings.windows(2).all(|pair| pair[0].end <= pair[1].start));
        sifted.readings.iter().for_each(can_be_meant);
        if let Some(series) = Series::of(&sifted.readings) {
            assert!(series.from < series.until && series.rows == sifted.readings.len());
        }
    }
}

fn can_be_meant(reading: &Reading) {
    let most = match reading.what {
        What::CarbonIntensity => 0..=5_000_000,
        What::Price => -25_000_000_000_000..=25_000_000_000_000,
        What::Generation | What::Load => 0..=20_000_000_000_000,
    };
    assert!(most.contains(&reading.value) && reading.start < reading.end, "{reading:?}");
    assert!((946_684_800..4_260_211_200).contains(&reading.start.0), "{reading:?}");
}
