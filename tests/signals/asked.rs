//! Questions to servers on loopback: what is asked, and that nothing a server does costs more than its time and its bytes.

use heliotrope::core::signal::{Basis, Unit, What};
use heliotrope::fetch::{FetchError, Fetcher, Limits, Tokens};
use heliotrope::signals::{About, Entsoe, Kind, Place, Query, Request, Service, Source};
use heliotrope::units::{Moment, Seconds};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const NOW: &str = "2026-10-25T00:10:00Z";
const TOKEN: &str = "s3cret+key/of=mine";

fn now() -> Moment {
    NOW.parse().unwrap()
}

/// A server that hears one question, and answers with these bytes; it gives back what it heard.
async fn server(answer: Vec<u8>) -> (String, JoinHandle<String>) {
    serving(|mut stream: TcpStream| async move {
        let _ = stream.write_all(&answer).await;
    })
    .await
}

async fn serving<F>(then: impl FnOnce(TcpStream) -> F + Send + 'static) -> (String, JoinHandle<String>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "the question was cut short");
            heard.extend_from_slice(&piece[..count]);
        }
        then(stream).await;
        String::from_utf8(heard).unwrap()
    });
    (format!("http://{address}"), heard)
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

fn fetcher(tokens: &Path) -> Fetcher {
    let limits = Limits { time: Duration::from_millis(1500), bytes: 1 << 20 };
    Fetcher::new(Tokens::in_folder(tokens), limits)
}

fn plain(url: &str) -> Request {
    Request { url: format!("{url}/x?zone=KR"), token: None, place: Place::Bearer, kind: Kind::Json, login: None }
}

/// What is said of a server that answers like that.
async fn failure(bytes: Vec<u8>) -> FetchError {
    let folder = tempfile::tempdir().unwrap();
    let (url, _heard) = server(bytes).await;
    let error = fetcher(folder.path()).ask(&plain(&url), now()).await.unwrap_err();
    // the port is another one in each run, and never said: what matters is which host, which path
    assert!(error.to_string().starts_with("127.0.0.1/x: "), "{error}");
    error
}

fn words(error: &FetchError) -> String {
    error.to_string().replace("127.0.0.1/x: ", "")
}

#[tokio::test]
async fn an_answer_comes_back_whole_and_the_question_names_its_zone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("maps"), format!("{TOKEN}\n")).unwrap();
    let (url, heard) =
        server(answer("200 OK\r\nContent-Type: application/json; charset=utf-8", "{\"zone\":\"KR\"}")).await;
    let about = About { zone: "KR", what: What::CarbonIntensity, now: now(), url: Some(&url), words: Some("forecast") };
    let request = Source::ElectricityMaps.request(&about, Some("maps".to_owned()));
    assert_eq!(fetcher(folder.path()).ask(&request, now()).await.unwrap(), [b"{\"zone\":\"KR\"}"]);
    let heard = heard.await.unwrap();
    assert!(heard.starts_with("GET /v3/carbon-intensity/forecast?zone=KR HTTP/1.1\r\n"), "{heard}");
    assert!(
        heard.contains(&format!("auth-token: {TOKEN}\r\n")) && heard.contains("accept: application/json\r\n"),
        "{heard}"
    );
}

#[tokio::test]
async fn a_token_that_is_changed_is_used_at_once_and_never_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entsoe");
    let source = Source::Entsoe(Entsoe { area: "10Y1001A1001A82H".to_owned(), document: "A44".to_owned() });
    for (token, encoded) in [(TOKEN, "s3cret%2Bkey%2Fof%3Dmine"), ("encoded%2Ftwice%3D", "encoded%2Ftwice%3D")] {
        std::fs::write(&file, token).unwrap();
        let body = format!("<x>no such token: {token}, {encoded}</x>");
        let (url, heard) = server(answer("401 Unauthorized\r\nContent-Type: text/xml", &body)).await;
        let about = About { zone: "DE-LU", what: What::Price, now: now(), url: Some(&url), words: None };
        let request = source.request(&about, Some("entsoe".to_owned()));
        let error = fetcher(folder.path()).ask(&request, now()).await.unwrap_err();
        assert_eq!(error.to_string(), "127.0.0.1/api: 401: <x>no such token: (token), (token)</x>");
        let heard = heard.await.unwrap();
        let expected = "GET /api?documentType=A44&in_Domain=10Y1001A1001A82H&out_Domain=10Y1001A1001A82H&periodStart=202610240000&periodEnd=202610270000&securityToken=";
        assert!(heard.starts_with(&format!("{expected}{encoded} HTTP/1.1")), "{heard}");
        assert!(!format!("{error:?}").contains("s3cret"));
        // and under HTTP 200
        let (url, _heard) = server(answer("200 OK\r\nContent-Type: text/xml", &body)).await;
        let request = source.request(&About { url: Some(&url), ..about }, Some("entsoe".to_owned()));
        let said = fetcher(folder.path()).ask(&request, now()).await.unwrap();
        assert_eq!(String::from_utf8(said.concat()).unwrap(), "<x>no such token: (token), (token)</x>");
    }
}

#[test]
fn only_files_of_the_folder_are_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Tokens::in_folder(folder.path());
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("empty"), " \n").unwrap();
    std::fs::write(folder.path().join("two"), "two words").unwrap();
    std::fs::write(folder.path().join("header"), "a\r\nHost: evil").unwrap();
    std::fs::write(folder.path().join("large"), "x".repeat(9000)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap().success());
    for name in
        ["", "../etc/passwd", "/etc/passwd", "..", ".x", "none", "folder", "empty", "two", "header", "large", "fifo"]
    {
        let error = tokens.read(name).unwrap_err();
        assert!(error.starts_with("token ") && !error.contains("words") && !error.contains("evil"), "{error}");
    }
    std::fs::write(folder.path().join("good"), "abc").unwrap();
    assert_eq!(format!("{:?}", tokens.read("good").unwrap()), "Secret(..)");
}

#[tokio::test]
async fn what_a_server_says_is_told_and_heeded() {
    let often = failure(answer("429 Too Many Requests\r\nRetry-After: 120", "")).await;
    assert_eq!(
        (words(&often).as_str(), often.retry_after()),
        ("429: asked too often, again after 2m", Some(Seconds(120)))
    );
    let dated = failure(answer("503 Service Unavailable\r\nRetry-After: Sun, 25 Oct 2026 00:20:00 GMT", "")).await;
    assert_eq!(dated.retry_after(), Some(Seconds(600)));
    for absurd in ["-5", "soon", "99999999999999999999", "Sun, 25 Oct 2020 00:20:00 GMT"] {
        let error = failure(answer(&format!("429 X\r\nRetry-After: {absurd}"), "")).await;
        assert_eq!((error.name(), error.retry_after()), ("TooOften", None), "{absurd}");
    }
    let moved = failure(answer("302 Found\r\nLocation: http://127.0.0.1:1/", "")).await;
    assert_eq!(words(&moved), "302");
    let broken = failure(answer("500 Internal Server Error", "no\u{7}\n  luck")).await;
    assert_eq!(words(&broken), "500: no luck");
    let page = failure(answer("200 OK\r\nContent-Type: text/html", "<html>please log in</html>")).await;
    assert_eq!(words(&page), "the answer is text/html, and not JSON");
    let nothing = failure(answer("200 OK", "{}")).await;
    assert_eq!(words(&nothing), "the answer is of no kind that it names, and not JSON");
    assert_eq!(failure(b"SSH-2.0-OpenSSH\r\n".to_vec()).await.name(), "Broken");
    assert_eq!(failure(Vec::new()).await.name(), "Broken");
    // it ends before it said it would
    let short = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{".to_vec();
    assert_eq!(failure(short).await.name(), "Broken");
}

#[tokio::test]
async fn no_answer_has_more_bytes_than_are_read() {
    let announced = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n".to_vec();
    let error = failure(announced).await;
    assert_eq!(words(&error), "the answer has more than 1048576 bytes, the most that is read");
    // a gigabyte that is not announced
    let folder = tempfile::tempdir().unwrap();
    let (url, heard) = serving(|mut stream: TcpStream| async move {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        let chunk = [b"10000\r\n".to_vec(), vec![b'['; 0x10000], b"\r\n".to_vec()].concat();
        let mut sent = 0_usize;
        while sent < 1 << 30 && stream.write_all(&chunk).await.is_ok() {
            sent += 0x10000;
        }
        assert!(sent < 64 << 20, "{sent} bytes were taken");
    })
    .await;
    let error = fetcher(folder.path()).ask(&plain(&url), now()).await.unwrap_err();
    assert_eq!(error.name(), "TooLarge");
    heard.await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_silent_or_slow_costs_its_time_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    // it takes the question and says nothing; the connection stays half open
    let (url, silent) = serving(|stream: TcpStream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let error = fetcher(folder.path()).ask(&plain(&url), now()).await.unwrap_err();
    assert_eq!(words(&error), "no whole answer within 1.5s");
    silent.abort();
    // a byte at a time, for ever
    let (url, slow) = serving(|mut stream: TcpStream| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        while stream.write_all(b"1\r\n[\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(fetcher(folder.path()).ask(&plain(&url), now()).await.unwrap_err().name(), "TimedOut");
    slow.abort();
    // nobody is there
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(
        fetcher(folder.path()).ask(&plain(&format!("http://{gone}")), now()).await.unwrap_err().name(),
        "Broken"
    );
}

#[tokio::test]
async fn what_is_no_url_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    for url in [
        "",
        "x",
        "/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://",
        "http://user:pw@127.0.0.1/x",
        "http://a b/",
    ] {
        let request = Request { url: url.to_owned(), ..plain("") };
        let error = fetcher(folder.path()).ask(&request, now()).await.unwrap_err();
        assert!(error.name() == "Url" && !error.to_string().contains("pw"), "{url}: {error}");
    }
}

#[test]
fn each_provider_is_asked_as_its_documentation_has_it() {
    let query =
        Query { what: What::Price, basis: Basis::LocationAverage, unit: Unit::GRAMS_PER_KWH, step: Seconds(300) };
    for (source, zone, words, expected) in [
        (
            Source::ElectricityMaps,
            "DE LU",
            None,
            "https://api.electricitymap.org/v3/carbon-intensity/latest?zone=DE%20LU",
        ),
        (Source::Uk, "GB", None, "https://api.carbonintensity.org.uk/intensity/2026-10-25T00:00Z/fw48h"),
        (
            Source::Uk,
            "GB-13",
            None,
            "https://api.carbonintensity.org.uk/regional/intensity/2026-10-25T00:00Z/fw48h/regionid/13",
        ),
        (
            Source::Kpx(Service::ByGeneration),
            "KR",
            None,
            "https://apis.data.go.kr/B552115/PwrAmountByGen/getPwrAmountByGen?numOfRows=300&pageNo=1&dataType=json&baseDate=20261025",
        ),
        (
            Source::Prometheus(query),
            "KR",
            Some("sum(x{a=\"b\"})"),
            "http://prometheus.monitoring:9090/api/v1/query_range?query=sum%28x%7Ba%3D%22b%22%7D%29&start=1792800600&end=1793059800&step=300",
        ),
        (
            Source::EnergyCharts,
            "DE-LU",
            None,
            "https://api.energy-charts.info/v2/price?bzn=DE-LU&start=2026-10-24&end=2026-10-27",
        ),
        (
            Source::WattTime,
            "CAISO_NORTH",
            None,
            "https://api.watttime.org/v3/forecast?region=CAISO_NORTH&signal_type=co2_moer&horizon_hours=72",
        ),
        (
            Source::Eia,
            "CISO",
            None,
            "https://api.eia.gov/v2/electricity/rto/fuel-type-data/data/?frequency=hourly&data%5B0%5D=value&facets%5Brespondent%5D%5B%5D=CISO&start=2026-10-23T00&length=5000",
        ),
        (
            Source::CarbonAware(Basis::Marginal),
            "eastus",
            None,
            "http://carbon-aware-webapi/emissions/forecasts/current?location=eastus",
        ),
    ] {
        let about = About { zone, what: What::CarbonIntensity, now: now(), url: None, words };
        assert_eq!(source.request(&about, None).url, expected);
    }
}

/// A server that answers each question in turn, and gives back what it heard.
async fn in_turn(answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut heard = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; 8192];
            let length = stream.read(&mut question).await.unwrap();
            heard.push(String::from_utf8_lossy(&question[..length]).into_owned());
            stream.write_all(&answer).await.unwrap();
        }
        heard
    });
    (url, task)
}

#[tokio::test]
async fn a_login_is_made_once_in_a_while_and_again_where_it_is_refused_and_nobody_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wt-user"), "grid\n").unwrap();
    std::fs::write(folder.path().join("wt-password"), "open-sesame").unwrap();
    let json = |body: &str| answer("200 OK\r\nContent-Type: application/json", body);
    let refused = || answer("401 Unauthorized\r\nContent-Type: application/json", r#"{"no":"session-number-2"}"#);
    let (url, task) = in_turn(vec![
        json(r#"{"token":"session-number-1"}"#),
        json("{}"),
        json("{}"),
        json(r#"{"token":"session-number-2"}"#),
        refused(),
        json(r#"{"token":"session-number-3"}"#),
        json("{}"),
        answer("403 Forbidden\r\nContent-Type: application/json", r#"{"you said":"Z3JpZDpvcGVuLXNlc2FtZTI="}"#),
        json(r#"{"token":"two words"}"#),
    ])
    .await;
    let about = About { zone: "CAISO_NORTH", what: What::CarbonIntensity, now: now(), url: Some(&url), words: None };
    let mut request = Source::WattTime.request(&about, Some("wt-password".to_owned()));
    request.login.as_mut().unwrap().user = "wt-user".to_owned();
    let fetcher = fetcher(folder.path());
    assert_eq!(fetcher.ask(&request, now()).await.unwrap(), [b"{}"]);
    assert_eq!(fetcher.ask(&request, now() + Seconds(1499)).await.unwrap(), [b"{}"]);
    // half an hour on it is another one; and it is refused
    let later = now() + Seconds(1800);
    let error = fetcher.ask(&request, later).await.unwrap_err();
    assert!(error.name() == "Status" && !error.to_string().contains("session-number"), "{error}");
    assert_eq!(fetcher.ask(&request, later).await.unwrap(), [b"{}"]);
    // another password is another login: refused, and then a strange one
    std::fs::write(folder.path().join("wt-password"), "open-sesame2").unwrap();
    let error = fetcher.ask(&request, later).await.unwrap_err();
    assert!(error.name() == "Status" && !error.to_string().contains("Z3JpZ"), "{error}");
    let error = fetcher.ask(&request, later).await.unwrap_err();
    assert!(error.name() == "Token" && !error.to_string().contains("words"), "{error}");
    let heard = task.await.unwrap();
    let with = |i: usize, line: &str, header: &str| {
        assert!(heard[i].starts_with(line) && heard[i].contains(header), "{i}: {}", heard[i]);
    };
    for (i, session) in [(1, "1"), (2, "1"), (4, "2"), (6, "3")] {
        with(i, "GET /v3/forecast?region=CAISO_NORTH", &format!("authorization: Bearer session-number-{session}\r\n"));
    }
    for i in [0, 3, 5] {
        with(i, "GET /login HTTP", "authorization: Basic Z3JpZDpvcGVuLXNlc2FtZQ==\r\n");
    }
    assert!(heard.iter().all(|heard| !heard.contains("sesame")));
    assert!(!format!("{fetcher:?}").contains("session-number"));
}
