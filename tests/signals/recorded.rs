//! What providers really answered, read as they are on the wire; documented errors; and that nothing that arrives makes a reader panic.
//! Where no recorded answer exists, one is built from the provider's documentation, and its name says so.

use crate::common;
use crate::survives::{at, finland, germany, holds, judged, pointers, query, readers, roof};
use heliotrope::core::signal::{Answer, Basis, Currency, Decimal, Factors, Reason, Unit, Wanted, What, sift};
use heliotrope::signals::{Entsoe, OpenMeteo, Pointers, ReadError, Service, Source, token};
use heliotrope::units::{Moment, Seconds};
use proptest::prelude::*;

fn sample(name: &str) -> Option<Vec<u8>> {
    let file = common::shared()?.join("signal-samples").join(name);
    Some(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// What is used of an answer: (start, seconds, value).
fn values(answer: &Answer, zone: &str, now: &str) -> Vec<(String, i64, i64)> {
    let sifted = judged(answer, zone, now);
    assert_eq!(sifted.refused.to_string(), "");
    let row = |reading: &heliotrope::core::signal::Reading| {
        (reading.start.to_string(), (reading.end - reading.start).0, reading.value)
    };
    sifted.readings.iter().map(row).collect()
}

#[test]
fn electricity_maps() {
    let Some(latest) = sample("electricitymaps-carbon-intensity-latest.json") else { return };
    let answer = Source::ElectricityMaps.read(&latest).unwrap();
    assert_eq!((answer.factors, answer.rows[0].estimated), (Factors::Lifecycle, true));
    assert_eq!(answer.rows[0].issued, Some(at("2023-01-23T16:53:20Z")));
    let now = "2023-01-23T17:10:00Z";
    assert_eq!(values(&answer, "FR", now), [("2023-01-23T17:00:00Z".to_owned(), 3600, 103_000)]);
    // the server fell back to where the caller seems to be
    assert_eq!(judged(&answer, "KR", now).refused.count(Reason::OtherZone), 1);

    let history =
        Source::ElectricityMaps.read(&sample("electricitymaps-carbon-intensity-history.json").unwrap()).unwrap();
    assert_eq!((history.rows.len(), history.empty), (1, 1));
    let midnight = "2099-01-01T00:00:00Z";
    assert_eq!(values(&history, "NL", midnight), [(midnight.to_owned(), 3600, 999_000)]);
    // as seen from today, the year 2099 can't be meant
    assert_eq!(judged(&history, "NL", now).refused.count(Reason::TooFarAhead), 1);
    let forecast =
        Source::ElectricityMaps.read(&sample("electricitymaps-carbon-intensity-forecast.json").unwrap()).unwrap();
    assert!(forecast.rows[0].estimated);
    assert_eq!(values(&forecast, "NL", midnight), [(midnight.to_owned(), 3600, 999_000)]);
}

#[test]
fn electricity_maps_as_documented() {
    let read = |text: &str| Source::ElectricityMaps.read(text.as_bytes());
    let nowhere = read(r#"{"carbonIntensity":1,"datetime":"2026-10-25T00:00:00Z"}"#).unwrap();
    assert_eq!(judged(&nowhere, "KR", "2026-10-25T00:00:00Z").refused.count(Reason::ZoneMissing), 1);
    for (text, said) in [
        (r#"{"error":"Invalid auth-token"}"#, "the provider says: Invalid auth-token"),
        (r#"{"zone":"KR"}"#, "`datetime` is missing"),
        (r#"{"zone":"KR","history":{}}"#, "`history` is `{..}`, and not a list"),
        (r#"{"zone":"KR","history":[]}"#, "the answer has no values"),
        (
            r#"{"zone":"KR","history":[{"datetime":"yesterday"}]}"#,
            "`history[0].datetime` is `yesterday`, and not a time with its offset such as 2026-10-25T00:00Z",
        ),
        // without an offset a time may be any of two dozen
        (
            r#"{"zone":"KR","datetime":"2026-10-25T00:00:00","carbonIntensity":1}"#,
            "`datetime` is `2026-10-25T00:00:00`, and not a time with its offset such as 2026-10-25T00:00Z",
        ),
        ("<html>", "the answer is not JSON: expected value at line 1 column 1"),
    ] {
        assert_eq!(read(text).unwrap_err().to_string(), said);
    }
}

#[test]
fn great_britain() {
    let Some(national) = sample("uk-carbonintensity-intensity.json") else { return };
    let answer = Source::Uk.read(&national).unwrap();
    assert_eq!(answer.factors, Factors::Direct);
    assert_eq!(values(&answer, "GB", "2020-01-01T00:00:00Z"), [("2020-01-01T00:00:00Z".to_owned(), 1800, 190_000)]);
    assert_eq!(judged(&answer, "DE-LU", "2020-01-01T00:00:00Z").refused.count(Reason::OtherZone), 1);
    // the regional sample was cut short: its half-hours have no times
    let error = Source::Uk.read(&sample("uk-carbonintensity-regional.json").unwrap()).unwrap_err();
    assert_eq!(error, ReadError::Missing { at: "data[0].data[0].from".to_owned() });
}

#[test]
fn great_britain_as_documented() {
    let regional = r#"{"data":{"regionid":13,"shortname":"London","data":[
        {"from":"2026-10-25T00:00Z","to":"2026-10-25T00:30Z","intensity":{"forecast":266,"index":"moderate"}},
        {"from":"2026-10-25T00:30Z","to":"2026-10-25T01:00Z","intensity":{"forecast":null,"actual":null}}]}}"#;
    let answer = Source::Uk.read(regional.as_bytes()).unwrap();
    assert_eq!((answer.empty, answer.rows[0].estimated), (1, true));
    assert_eq!(values(&answer, "GB-13", "2026-10-25T00:00:00Z"), [("2026-10-25T00:00:00Z".to_owned(), 1800, 266_000)]);
    let error = r#"{"error":{"code":"400 Bad Request","message":"Please enter a valid date in ISO8601 format"}}"#;
    let said = "the provider says: 400 Bad Request: Please enter a valid date in ISO8601 format";
    assert_eq!(Source::Uk.read(error.as_bytes()).unwrap_err().to_string(), said);
}

#[test]
fn entsoe_forecast_of_wind_and_sun() {
    let Some(excerpt) = sample("entsoe-a69-wind-solar-forecast-excerpt.xml") else { return };
    let answer = finland().read(&excerpt).unwrap();
    // under curve type A01 a point that is left out is not known: 36, 37 and 54 of quarters of an hour from 22:00
    let expected = [
        ("2024-02-08T06:45:00Z", 10_000_000),
        ("2024-02-08T07:00:00Z", 30_000_000),
        ("2024-02-08T11:15:00Z", 170_000_000),
    ]
    .map(|(start, watts)| (start.to_owned(), 900, watts));
    assert_eq!(values(&answer, "FI", "2024-02-09T18:34:00Z"), expected);
    let other = Source::Entsoe(Entsoe { area: "10YSE-1--------K".to_owned(), document: "A69".to_owned() });
    assert_eq!(
        judged(&other.read(&excerpt).unwrap(), "SE", "2024-02-09T18:34:00Z").refused.count(Reason::OtherZone),
        3
    );
    let error = Source::Entsoe(Entsoe { area: String::new(), document: "A44".to_owned() }).read(&excerpt).unwrap_err();
    assert_eq!(error.to_string(), "`type` is `A69`, and not the document that was asked for");
}

/// A document as the platform's guide has it.
fn document(kind: &str, series: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><X_MarketDocument xmlns="urn:iec62325.351:x:7:3"><type>{kind}</type>
        <createdDateTime>2026-10-24T11:00:00Z</createdDateTime>{series}</X_MarketDocument>"#
    )
}

fn series(head: &str, curve: &str, resolution: &str, name: &str, points: &[(i64, &str)]) -> String {
    let points: String =
        points.iter().map(|(at, v)| format!("<Point><position>{at}</position><{name}>{v}</{name}></Point>")).collect();
    format!(
        "<TimeSeries>{head}<curveType>{curve}</curveType><Period><timeInterval><start>2026-10-24T22:00Z</start><end>2026-10-25T02:00Z</end>
        </timeInterval><resolution>{resolution}</resolution>{points}</Period></TimeSeries>"
    )
}

#[test]
fn entsoe_prices_as_documented_with_what_repeats_left_out() {
    let head = "<in_Domain.mRID>10Y1001A1001A82H</in_Domain.mRID><currency_Unit.name>EUR</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name>";
    let sequence = |n: u8| {
        format!(
            "{head}<classificationSequence_AttributeInstanceComponent.position>{n}</classificationSequence_AttributeInstanceComponent.position>"
        )
    };
    let hours = [(1, "46.1"), (3, "-5.02")];
    let text = document(
        "A44",
        &[
            series(&sequence(1), "A03", "PT60M", "price.amount", &hours),
            series(&sequence(2), "A03", "PT15M", "price.amount", &[(1, "1")]),
        ]
        .concat(),
    );
    let answer = germany("A44").read(text.as_bytes()).unwrap();
    assert_eq!(answer.unit, Unit::per_mwh(Currency::EUR));
    let prices: Vec<i64> = values(&answer, "DE-LU", "2026-10-24T12:00:00Z").iter().map(|(.., value)| *value).collect();
    assert_eq!(prices, [46_100_000, 46_100_000, -5_020_000, -5_020_000]);
    // the same under A01: what is left out is not known
    let text = document("A44", &series(head, "A01", "PT60M", "price.amount", &hours));
    assert_eq!(germany("A44").read(text.as_bytes()).unwrap().rows.len(), 2);
    for (points, resolution, said) in [
        (&[(5, "1")][..], "PT60M", "`Point/position` is `5`, and not a place in its period"),
        (&[(1, "1"), (1, "2")], "PT60M", "`Point/position` is `1`, and not there once"),
        (&[(1, "1")], "P1Y", "`resolution` is `P1Y`, and not PT15M, PT30M, PT60M or P1D"),
        (&[], "PT60M", "the answer has no values"),
    ] {
        let text = document("A44", &series(head, "A03", resolution, "price.amount", points));
        assert_eq!(germany("A44").read(text.as_bytes()).unwrap_err().to_string(), said);
    }
}

#[test]
fn entsoe_load_and_carbon_of_generation_as_documented() {
    let load = "<outBiddingZone_Domain.mRID>10Y1001A1001A82H</outBiddingZone_Domain.mRID><quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name>";
    let text = document("A65", &series(load, "A03", "PT60M", "quantity", &[(1, "45000")]));
    let answer = germany("A65").read(text.as_bytes()).unwrap();
    assert_eq!((answer.what, answer.rows.len()), (What::Load, 4));
    assert_eq!(values(&answer, "DE-LU", "2026-10-25T00:00:00Z")[3].2, 45_000_000_000);

    let of = |kind: &str| {
        format!(
            "<inBiddingZone_Domain.mRID>10Y1001A1001A82H</inBiddingZone_Domain.mRID><quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name><MktPSRType><psrType>{kind}</psrType></MktPSRType>"
        )
    };
    let pumps = "<outBiddingZone_Domain.mRID>10Y1001A1001A82H</outBiddingZone_Domain.mRID><MktPSRType><psrType>B10</psrType></MktPSRType>";
    let text = document(
        "A75",
        &[
            series(&of("B05"), "A01", "PT60M", "quantity", &[(1, "100"), (2, "0"), (3, "NaN"), (4, "7")]),
            series(&of("B19"), "A01", "PT60M", "quantity", &[(1, "300"), (2, "300"), (3, "300")]),
            series(pumps, "A01", "PT60M", "quantity", &[(1, "9999")]),
        ]
        .concat(),
    );
    let answer = germany("A75").read(text.as_bytes()).unwrap();
    let sifted = judged(&answer, "DE-LU", "2026-10-25T00:00:00Z");
    // (100 × 820 + 300 × 11) / 400 = 213.25 g/kWh; then wind alone; then coal that is no number; then no wind: not known
    let found: Vec<i64> = sifted.readings.iter().map(|reading| reading.value).collect();
    assert_eq!((found, sifted.refused.count(Reason::NotANumber), answer.empty), (vec![213_250, 11_000], 1, 1));
    assert!(sifted.readings[0].estimated && sifted.readings[0].factors == Factors::Lifecycle);
    // each can be said, and their sum can't
    let most = [(1, "9200000000000")];
    let both = ["B16", "B19"].map(|kind| series(&of(kind), "A01", "PT60M", "quantity", &most)).concat();
    let sifted =
        judged(&germany("A69").read(document("A69", &both).as_bytes()).unwrap(), "DE-LU", "2026-10-25T00:00:00Z");
    assert_eq!((sifted.readings.len(), sifted.refused.total()), (0, 1));
}

#[test]
fn entsoe_says_why_it_can_not_answer_as_documented() {
    let text = r#"<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"><mRID>x</mRID>
        <Reason><code>999</code><text>No matching data found for Data item
        Day-ahead Prices [12.1.D]</text></Reason></Acknowledgement_MarketDocument>"#;
    let error = germany("A44").read(text.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the provider says: 999: No matching data found for Data item Day-ahead Prices [12.1.D]"
    );
    let bomb = r#"<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>"#;
    let error = germany("A44").read(bomb.as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("the answer is not XML: "), "{error}");
}

#[test]
fn korea() {
    let Some(load) = sample("kpx-sukub-current.json") else { return };
    let answer = Source::Kpx(Service::Load).read(&load).unwrap();
    // midnight of 1 October in Korea
    assert_eq!(
        values(&answer, "KR", "2026-10-01T00:00:00Z"),
        [("2026-09-30T15:00:00Z".to_owned(), 300, 61_125_200_000)]
    );
    let jeju = Source::Kpx(Service::JejuLoad).read(&sample("kpx-jeju-sample.xml").unwrap()).unwrap();
    let expected = [("2026-06-18T03:00:00Z", 625_000_000), ("2026-06-18T03:05:00Z", 630_200_000)];
    let expected = expected.map(|(start, watts)| (start.to_owned(), 300, watts));
    assert_eq!(values(&jeju, "KR-JEJU", "2026-06-18T04:00:00Z"), expected);
    assert_eq!(judged(&jeju, "KR", "2026-06-18T04:00:00Z").refused.count(Reason::OtherZone), 2);
}

fn korean(items: &str) -> String {
    format!(r#"{{"response":{{"header":{{"resultCode":"00","resultMsg":"OK"}},"body":{{"items":{items}}}}}}}"#)
}

#[test]
fn korea_as_documented() {
    let main = r#""fuelPwr1":"100","fuelPwr2":"0","fuelPwr3":"20000","fuelPwr4":"25000","fuelPwr5":"500","fuelPwr6":"15000","fuelPwr7":"900""#;
    let market = format!(
        r#"{{"item":[{{"baseDateTime":"20261001120000",{main},"fuelPwr8":"8000","fuelPwr9":"300","fuelPwr10":"700","pEsmw":"5000","bEmsw":"9000"}}]}}"#
    );
    let read = |text: &str, service| Source::Kpx(service).read(text.as_bytes());
    let answer = read(&korean(&market), Service::SumPerFuel).unwrap();
    // hydro 100 × 24 + coal 20,900 × 820 + nuclear 25,000 × 12 + gas 15,000 × 490 + sun 13,000 × 48 + wind 300 × 11 + the rest 700 × 820
    // = 25,991,700 over 75,000 MW; the pumps' 500 change nothing
    let expected = [("2026-10-01T03:00:00Z".to_owned(), 300, 346_556)];
    assert_eq!(values(&answer, "KR", "2026-10-01T04:00:00Z"), expected);
    let other = format!(r#"{{"item":{{"baseDatetime":"20261001120000",{main},"fuelPwr8":"700","fuelPwr9":"8000"}}}}"#);
    // 25,748,400 over 69,700
    let answer = read(&korean(&other), Service::ByGeneration).unwrap();
    assert_eq!(values(&answer, "KR", "2026-10-01T04:00:00Z")[0].2, 369_418);
    // one service's fuels are never read by the other's numbers
    for (text, service) in [(&market, Service::ByGeneration), (&other, Service::SumPerFuel)] {
        assert_eq!(read(&korean(text), service).unwrap_err().name(), "NotA");
    }
    let key = "<OpenAPI_ServiceResponse><cmmMsgHeader><errMsg>SERVICE ERROR</errMsg><returnAuthMsg>SERVICE_KEY_IS_NOT_REGISTERED_ERROR</returnAuthMsg><returnReasonCode>30</returnReasonCode></cmmMsgHeader></OpenAPI_ServiceResponse>";
    for (text, said) in [
        (key.to_owned(), "the provider says: 30: SERVICE_KEY_IS_NOT_REGISTERED_ERROR SERVICE ERROR"),
        ("<response><header><resultCode>03</resultCode><resultMsg>NODATA_ERROR</resultMsg></header></response>".to_owned(), "the provider says: 03: NODATA_ERROR"),
        (r#"{"response":{"header":{"resultCode":"22","resultMsg":"LIMITED_NUMBER_OF_SERVICE_REQUESTS_EXCEEDS_ERROR"}}}"#.to_owned(), "the provider says: 22: LIMITED_NUMBER_OF_SERVICE_REQUESTS_EXCEEDS_ERROR"),
        (korean(r#""""#), "the answer has no values"),
        (korean(r#"{"item":{"baseDatetime":"2026100112","currPwrTot":"1"}}"#), "`item.baseDatetime` is `2026100112`, and not a time such as 20261001000500"),
        (korean(r#"{"item":{"baseDatetime":"20261301000000","currPwrTot":"1"}}"#), "`item.baseDatetime` is `20261301000000`, and not a time such as 20261001000500"),
        (korean(r#"{"item":{"baseDatetime":"20261001000000"}}"#), "`item.currpwrtot` is missing"),
        (korean(r#"{"item":[7]}"#), "`response.body.items.item[0]` is `7`, and not an item"),
    ] {
        assert_eq!(read(&text, Service::Load).unwrap_err().to_string(), said);
    }
}

#[test]
fn open_meteo() {
    let Some(bytes) = sample("openmeteo-forecast-solar.json") else { return };
    let answer = Source::OpenMeteo(roof()).read(&bytes).unwrap();
    // 11:00 is the hour before it; the last as reckoned by hand in core::signal::pv
    let found = values(&answer, "roof", "2026-05-08T10:00:00Z");
    assert_eq!((found[0].0.as_str(), found[0].1, found.len()), ("2026-05-08T10:00:00Z", 3600, 3));
    assert_eq!(found[2], ("2026-05-08T12:00:00Z".to_owned(), 3600, 63_513));
    let elsewhere = OpenMeteo { longitude: 126_978, ..roof() };
    let answer = Source::OpenMeteo(elsewhere).read(&bytes).unwrap();
    assert_eq!(judged(&answer, "roof", "2026-05-08T10:00:00Z").refused.count(Reason::OtherZone), 3);
}

#[test]
fn open_meteo_as_documented() {
    let read = |text: &str| Source::OpenMeteo(roof()).read(text.as_bytes());
    let error = read(r#"{"error":true,"reason":"Cannot initialize ForecastVariable from invalid String value x"}"#)
        .unwrap_err();
    assert_eq!(error.to_string(), "the provider says: Cannot initialize ForecastVariable from invalid String value x");
    let hourly = |unit: &str, offset: i64, hourly: &str| {
        format!(
            r#"{{"latitude":50.3,"longitude":-5.0,"utc_offset_seconds":{offset},"hourly_units":{{"shortwave_radiation":"{unit}"}},"hourly":{hourly}}}"#
        )
    };
    let one = r#"{"time":["2026-05-08T12:00","2026-05-08T13:00"],"shortwave_radiation":[1000,null]}"#;
    let answer = read(&hourly("W/m²", 32_400, one)).unwrap();
    assert_eq!(
        (answer.empty, values(&answer, "roof", "2026-05-08T02:00:00Z")),
        (1, vec![("2026-05-08T02:00:00Z".to_owned(), 3600, 86_000)])
    );
    assert_eq!(
        read(&hourly("MJ/m²", 0, one)).unwrap_err().to_string(),
        "`hourly_units.shortwave_radiation` is `MJ/m²`, and not W/m²"
    );
    let uneven = r#"{"time":["2026-05-08T12:00"],"shortwave_radiation":[1,2]}"#;
    assert_eq!(read(&hourly("W/m²", 0, uneven)).unwrap_err().name(), "NotA");
    let absurd = r#"{"time":["2026-05-08T12:00"],"shortwave_radiation":[700000]}"#;
    let answer = read(&hourly("W/m²", 0, absurd)).unwrap();
    assert_eq!(judged(&answer, "roof", "2026-05-08T12:00:00Z").refused.count(Reason::NotANumber), 1);
}

#[test]
fn prometheus_as_documented() {
    let read = |text: &str| query().read(text.as_bytes());
    let matrix = |result: &str| format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":{result}}}}}"#);
    let answer =
        read(&matrix(r#"[{"metric":{},"values":[[1435781430.781,"425.2"],[1435781730,"NaN"],[1435782030,"+Inf"]]}]"#))
            .unwrap();
    let sifted = judged(&answer, "KR", "2015-07-01T20:10:00Z");
    assert_eq!((sifted.readings[0].start, sifted.readings[0].value), (at("2015-07-01T20:10:31Z"), 425_200));
    assert_eq!(sifted.refused.count(Reason::NotANumber), 2);
    for (text, said) in [
        (
            r#"{"status":"error","errorType":"bad_data","error":"1:5: parse error"}"#.to_owned(),
            "the provider says: bad_data: 1:5: parse error",
        ),
        (matrix("[]"), "the answer has no values"),
        (
            matrix(r#"[{"values":[]},{"values":[]}]"#),
            "`data.result` is `2 series`, and not one series: aggregate in the query",
        ),
        (matrix(r#"[{"values":[[1]]}]"#), "`data.result[0].values[0]` is `[..]`, and not a time and a value"),
        (
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned(),
            "`data.resultType` is `vector`, and not matrix: ask by query_range",
        ),
    ] {
        assert_eq!(read(&text).unwrap_err().to_string(), said);
    }
}

#[test]
fn any_json_by_pointers() {
    let Some(bytes) = sample("uk-carbonintensity-intensity.json") else { return };
    let answer = Source::Json(pointers()).read(&bytes).unwrap();
    assert_eq!(values(&answer, "GB", "2020-01-01T00:00:00Z"), [("2020-01-01T00:00:00Z".to_owned(), 1800, 186_000)]);
    let text = r#"{"grid":"KR","made":1790000000000,"rows":[{"t":1790000000,"v":"410.5","low":380,"high":450},{"t":1790003600,"v":null}]}"#;
    let own = Pointers {
        rows: "/rows".to_owned(),
        start: "/t".to_owned(),
        end: None,
        value: "/v".to_owned(),
        quantiles: vec![(100, "/low".to_owned()), (900, "/high".to_owned())],
        zone: Some("/grid".to_owned()),
        issued: Some("/made".to_owned()),
        ..pointers()
    };
    let answer = Source::Json(own.clone()).read(text.as_bytes()).unwrap();
    let sifted = judged(&answer, "KR", "2026-09-21T14:00:00Z");
    let reading = &sifted.readings[0];
    assert_eq!((reading.value, reading.start, reading.end), (410_500, Moment(1_790_000_000), Moment(1_790_003_600)));
    assert_eq!((reading.issued, answer.empty), (Some(Moment(1_790_000_000)), 1));
    assert_eq!(reading.quantiles, [(100, 380_000), (900, 450_000)]);
    assert_eq!(judged(&answer, "JP-TK", "2026-09-21T14:00:00Z").refused.count(Reason::OtherZone), 1);
    for (pointers, said) in [
        (Pointers { rows: "/none".to_owned(), ..own.clone() }, "`/none` is missing"),
        (Pointers { start: "/none".to_owned(), ..own.clone() }, "`/rows[0]/none` is missing"),
        (Pointers { zone: Some("/none".to_owned()), ..own.clone() }, "`/none` is missing"),
        (Pointers { rows: "/grid".to_owned(), ..own }, "`/grid` is `KR`, and not a list"),
    ] {
        assert_eq!(Source::Json(pointers).read(text.as_bytes()).unwrap_err().to_string(), said);
    }
}

#[test]
fn watttime() {
    let Some(bytes) = sample("watttime-v3-forecast.json") else { return };
    let answer = Source::WattTime.read(&bytes).unwrap();
    assert_eq!((answer.basis, answer.rows.len()), (Basis::Marginal, 2));
    let first = values(&answer, "CAISO_NORTH", "2022-07-15T00:01:00Z").remove(0);
    assert_eq!(first, ("2022-07-15T00:00:00Z".to_owned(), 300, 475_552));
    // a marginal figure never stands in for an average
    let wanted = Wanted {
        zone: "CAISO_NORTH",
        what: What::CarbonIntensity,
        basis: Basis::LocationAverage,
        currency: None,
        now: at("2022-07-15T00:01:00Z"),
        typical: None,
        steady: None,
    };
    assert_eq!(sift(&answer, &wanted).refused.count(Reason::OtherBasis), 2);
    assert_eq!(token(&sample("watttime-login.json").unwrap()).unwrap(), "abcdef0123456789fedcabc");
    // a history of forecasts is another thing
    let error = Source::WattTime.read(&sample("watttime-v3-forecast-historical.json").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "`meta` is missing");
    let error = token(br#"{"token":"two words"}"#).unwrap_err().to_string();
    assert!(!error.contains("words"), "{error}");
}

#[test]
fn eia() {
    let Some(bytes) = sample("eia-v2-fuel-type-data.json") else { return };
    // its two rows are of two authorities
    let error = Source::Eia.read(&bytes).unwrap_err().to_string();
    assert_eq!(error, "`response.data[1].respondent` is `PJM`, and not the same in all rows");
}

#[test]
fn eia_as_documented() {
    let row = |hour: &str, fuel: &str, value: &str| {
        format!(r#"{{"period":"2026-04-05T{hour}","respondent":"CISO","fueltype":"{fuel}","value":{value}}}"#)
    };
    let answer = |total: &str, rows: &[String]| {
        let text = format!(r#"{{"response":{{"total":{total},"data":[{}]}}}}"#, rows.join(","));
        Source::Eia.read(text.as_bytes())
    };
    let rows = [row("05", "SUN", "\"1000\""), row("05", "NG", "\"3000\""), row("06", "SUN", "\"900\"")];
    let read = answer("\"3\"", &rows).unwrap();
    // (1,000 × 48 + 3,000 × 490) / 4,000 = 379.5 g/kWh in the hour that ends at five
    assert_eq!(values(&read, "CISO", "2026-04-05T06:00:00Z"), [("2026-04-05T04:00:00Z".to_owned(), 3600, 379_500)]);
    assert_eq!(read.empty, 1);
    let error = answer("\"5001\"", &rows).unwrap_err().to_string();
    assert_eq!(error, "the answer has 3 of 5001 rows: ask for less, or for longer pages");
    let error =
        Source::Eia.read(br#"{"error":{"code":"API_KEY_MISSING","message":"No api_key was supplied."}}"#).unwrap_err();
    assert_eq!(error.to_string(), "the provider says: API_KEY_MISSING: No api_key was supplied.");
}

#[test]
fn carbon_aware_sdk() {
    let Some(bytes) = sample("carbonaware-sdk-forecasts-current.json") else { return };
    let source = Source::CarbonAware(Basis::Marginal);
    let found = values(&source.read(&bytes).unwrap(), "northeurope", "2022-07-19T13:40:00Z");
    let expected = [("2022-07-19T14:00:00Z", 532_023), ("2022-07-20T04:25:00Z", 535_732)];
    assert_eq!(found, expected.map(|(start, value)| (start.to_owned(), 600, value)));
    let average = source.read(&sample("carbonaware-sdk-average.json").unwrap()).unwrap();
    assert_eq!(
        values(&average, "eastus", "2022-07-19T18:00:00Z"),
        [("2022-07-19T14:00:00Z".to_owned(), 14_400, 345_434)]
    );
}

/// Both forms of its API, as it documents them.
const CHARTS: [&str; 2] = [
    r#"{"series":[{"id":"day_ahead","name":"Day ahead"}],"unit":"EUR / MWh","resolution":"PT15M","data":[{"timestamp":1792886400,"values":{"day_ahead":46.1}},{"timestamp":1792887300,"values":{"day_ahead":-3.25}},{"timestamp":"2026-10-25T00:30:00Z","values":{"day_ahead":null}}]}"#,
    r#"{"license_info":"CC BY 4.0","unix_seconds":[1792886400,1792890000,1792893600],"price":[46.1,-3.25,null],"unit":"EUR / MWh","deprecated":true}"#,
];

#[test]
fn energy_charts_as_documented() {
    for (text, step) in CHARTS.into_iter().zip([900, 3600]) {
        let answer = Source::EnergyCharts.read(text.as_bytes()).unwrap();
        assert_eq!((answer.what, answer.unit.currency, answer.empty), (What::Price, Some(Currency::EUR), 1));
        let start = at("2026-10-25T00:00:00Z");
        let rows = [(start.to_string(), step, 46_100_000), ((start + Seconds(step)).to_string(), step, -3_250_000)];
        assert_eq!(values(&answer, "DE-LU", "2026-10-25T00:00:00Z"), rows);
    }
    for (text, said) in [
        (r#"{"detail":"bzn is not known"}"#, "the provider says: bzn is not known"),
        (r#"{"unit":"%","data":[]}"#, "`unit` is `%`, and not a price such as EUR / MWh"),
        (r#"{"unit":"EUR/MWh","data":[],"series":[]}"#, "`series` is `[..]`, and not a list of one series"),
        (r#"{"unit":"EUR/MWh","data":[],"series":[{"id":1}]}"#, "the answer has no values"),
        (r#"{"unit":"EUR/MWh","unix_seconds":[1],"price":[]}"#, "`price` is `0 of 1`, and not as many as unix_seconds"),
    ] {
        assert_eq!(Source::EnergyCharts.read(text.as_bytes()).unwrap_err().to_string(), said, "{text}");
    }
}

/// Everything that was recorded, and documents that were built.
fn corpus() -> Vec<Vec<u8>> {
    let head = "<in_Domain.mRID>10Y1001A1001A82H</in_Domain.mRID><currency_Unit.name>EUR</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name>";
    let mut all = vec![document("A44", &series(head, "A03", "PT60M", "price.amount", &[(1, "46.1")])).into_bytes()];
    all.extend(CHARTS.map(|text| text.as_bytes().to_vec()));
    if let Some(shared) = common::shared() {
        let files = std::fs::read_dir(shared.join("signal-samples")).unwrap();
        all.extend(files.map(|file| std::fs::read(file.unwrap().path()).unwrap()));
    }
    all
}

/// No reader panics, and nothing that can't be meant is used.
fn survives(bytes: &[u8]) {
    readers().iter().for_each(|source| holds(source, bytes));
    let _ = token(bytes);
}

#[test]
fn nothing_that_is_cut_short_or_deep_makes_a_reader_panic() {
    for bytes in corpus() {
        (0..bytes.len()).for_each(|length| survives(&bytes[..length]));
    }
    for (open, close) in [("[", "]"), ("{\"data\":", "}"), ("<a>", "</a>")] {
        survives(open.repeat(200_000).as_bytes());
        survives([open.repeat(200_000), close.repeat(200_000)].concat().as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        survives(&bytes);
    }

    /// Bytes of real answers changed, left out and put in: most still are JSON or XML, and say something absurd.
    #[test]
    fn no_mutation_makes_a_reader_panic(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), "[0-9eE.:<>/\"{}\\[\\]Z-]{0,6}", 0..6_usize), 1..6),
    ) {
        let all = corpus();
        let mut bytes = all[which.index(all.len())].clone();
        for (place, text, cut) in edits {
            let from = place.index(bytes.len().max(1)).min(bytes.len());
            let until = (from + cut).min(bytes.len());
            bytes.splice(from..until, text.bytes());
        }
        survives(&bytes);
    }

    #[test]
    fn a_decimal_is_read_as_it_is_shown(digits in -999_999_999_999_i64..999_999_999_999, places in 0..6_u32) {
        let text = format!("{digits}e-{places}");
        let decimal: Decimal = text.parse().unwrap();
        prop_assert_eq!(decimal.to_string().parse::<Decimal>().unwrap().times(1_000_000, 1), decimal.times(1_000_000, 1));
    }
}
