//! Servers that speak TLS, on loopback: who is believed, who is not, and what is said of it.

use heliotrope::controller::signals::Signals;
use heliotrope::controller::watch::Watch;
use heliotrope::core::signal::Rung;
use heliotrope::fetch::{Distrust, FetchError, Fetcher, Limits, Tokens};
use heliotrope::signals::{Kind, Place, Request};
use heliotrope::units::{Moment, Seconds};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const NOW: &str = "2026-10-25T00:10:00Z";

fn now() -> Moment {
    NOW.parse().unwrap()
}

/// A company's own authority.
fn authority() -> (Certificate, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (certificate, Issuer::new(params, key))
}

/// A server that answers each question over TLS with this, under a certificate for that host. It ends with the test.
async fn server(
    by: &Issuer<'static, KeyPair>,
    host: &str,
    change: impl FnOnce(&mut CertificateParams),
    body: &str,
) -> (String, JoinHandle<()>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    change(&mut params);
    let chain = vec![params.signed_by(&key, by).unwrap().der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let answer = format!("{head}Connection: close\r\n\r\n{body}");
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // who is not believed is not asked
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut question = [0; 4096];
            let count = stream.read(&mut question).await.unwrap_or(0);
            if question[..count].starts_with(b"GET /") {
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (url, task)
}

/// An authority that is believed, for as long as the folder is there.
fn believed() -> (tempfile::TempDir, Issuer<'static, KeyPair>, Fetcher) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, issuer) = authority();
    std::fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
    let ours = fetcher(folder.path()).trusting(folder.path().join("ca.crt"));
    (folder, issuer, ours)
}

fn fetcher(tokens: &Path) -> Fetcher {
    Fetcher::new(Tokens::in_folder(tokens), Limits { time: Duration::from_secs(10), bytes: 1 << 20 })
}

async fn ask(fetcher: &Fetcher, url: &str) -> Result<String, FetchError> {
    let request = Request { url: format!("{url}/x"), token: None, place: Place::Bearer, kind: Kind::Json, login: None };
    let answer = fetcher.ask(&request, now()).await?;
    Ok(String::from_utf8(answer.concat()).unwrap())
}

#[tokio::test]
async fn a_company_s_own_authority_is_believed_once_it_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, ours) = (folder.path().join("ca.crt"), fetcher(folder.path()));
    let (certificate, issuer) = authority();
    let (url, server) = server(&issuer, "127.0.0.1", |_| (), "{}").await;
    let error = ask(&ours, &url).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "127.0.0.1/x: its certificate is of an authority that is not trusted here: put that authority's certificate (PEM) into the file that caFile names"
    );
    // a file that is damaged is told of, and not half of it used
    let ours = ours.trusting(&file);
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let both = format!("{}{damaged}", certificate.pem());
    for (text, said) in [
        (None, "No such file or directory (os error 2)"),
        (Some(""), "has no certificate: PEM is needed, -----BEGIN CERTIFICATE-----"),
        (Some("hello"), "has no certificate: PEM is needed, -----BEGIN CERTIFICATE-----"),
        (Some(damaged), "certificate 1 can't be read: "),
        (Some(both.as_str()), "certificate 2 can't be read: "),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = ask(&ours, &url).await.unwrap_err();
        assert_eq!(error.name(), "Authorities");
        assert!(error.to_string().starts_with(&format!("caFile {}: {said}", file.display())), "{error}");
    }
    std::fs::write(&file, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(ask(&ours, &url).await.unwrap_err().to_string().ends_with("has more than 1 MiB"));
    // what is written there counts for the next question
    std::fs::write(&file, certificate.pem()).unwrap();
    assert_eq!(ask(&ours, &url).await.unwrap(), "{}");
    assert_eq!(ask(&ours, &url).await.unwrap(), "{}");
    // and no longer, once another stands there
    std::fs::write(&file, authority().0.pem()).unwrap();
    assert_eq!(ask(&ours, &url).await.unwrap_err().name(), "Untrusted");
    server.abort();
}

#[tokio::test]
async fn who_is_not_the_server_that_was_meant_is_told_in_words_and_not_asked() {
    let (_folder, issuer, ours) = believed();
    let expired = server(&issuer, "127.0.0.1", |made| made.not_after = rcgen::date_time_ymd(2020, 1, 1), "{}").await;
    let unborn = server(&issuer, "127.0.0.1", |made| made.not_before = rcgen::date_time_ymd(2900, 1, 1), "{}").await;
    let other = server(&issuer, "grid.example", |_| (), "{}").await;
    for ((url, server), why, said) in [
        (
            expired,
            Distrust::Expired,
            "its certificate has expired: it must be renewed there, or the clock of this machine is wrong",
        ),
        (
            unborn,
            Distrust::NotYet,
            "its certificate is not valid yet: the clock of this machine is wrong, or that of whoever made it",
        ),
        (
            other,
            Distrust::OtherHost("grid.example".to_owned()),
            "its certificate is for grid.example and not for the host that was asked: name that host in `url`",
        ),
    ] {
        let error = ask(&ours, &url).await.unwrap_err();
        assert_eq!(
            (error.to_string(), &error),
            (format!("127.0.0.1/x: {said}"), &FetchError::Untrusted { at: "127.0.0.1/x".to_owned(), why })
        );
        server.abort();
    }
    // plain HTTP on the port of TLS
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    });
    let error = ask(&ours, &url).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "127.0.0.1/x: what listens there does not speak TLS: say http:// in `url`, or another port"
    );
    plain.await.unwrap();
    // and TLS where plain HTTP was asked for
    let (url, tls) = server(&issuer, "127.0.0.1", |_| (), "{}").await;
    assert_eq!(ask(&ours, &url.replace("https", "http")).await.unwrap_err().name(), "Broken");
    tls.abort();
}

#[tokio::test]
async fn a_certificate_that_is_refused_takes_its_signal_down_the_ladder() {
    let (_folder, issuer, ours) = believed();
    let body =
        r#"{"data":[{"from":"2026-10-25T00:00Z","to":"2026-10-25T00:30Z","intensity":{"forecast":186,"actual":190}}]}"#;
    let (good, first) = server(&issuer, "127.0.0.1", |_| (), body).await;
    let signal = |url: &str| {
        let providers = json!([{"server": {"kind": "UKCarbonIntensity", "url": url}}]);
        let spec = json!({"what": "CarbonIntensity", "zone": "GB", "staticGramsPerKwh": 300, "maxAgeSeconds": 3600, "providers": providers});
        let object = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "GridSignal", "metadata": {"name": "gb"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    };
    // a cluster that is not there: these signals need none
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = kube::Client::try_from(kube::Config::new(format!("http://{nowhere}").parse().unwrap())).unwrap();
    let watch = Watch::start(&client, "x", &Arc::default(), &Arc::default());
    let mut signals = Signals::new(None);
    let here = signal(&good);
    signals.keep(std::slice::from_ref(&here));
    signals.servers.ask_all(&ours, now()).await;
    let reading = signals.read(&here, &watch, now());
    assert_eq!((reading.standing.rung, reading.errors.len()), (Rung::Live, 0), "{:?}", reading.errors);
    first.abort();
    // in its place one whose certificate has expired
    let (bad, second) =
        server(&issuer, "127.0.0.1", |made| made.not_after = rcgen::date_time_ymd(2020, 1, 1), body).await;
    let here = signal(&bad);
    signals.keep(std::slice::from_ref(&here));
    for (after, rung) in [(1800, Rung::LastKnown), (3 * 3600, Rung::Static)] {
        let at = now() + Seconds(after);
        signals.servers.ask_all(&ours, at).await;
        let reading = signals.read(&here, &watch, at);
        assert_eq!(reading.standing.rung, rung, "{}", reading.standing.why);
        assert!(
            reading.errors.len() == 1 && reading.errors[0].contains("its certificate has expired"),
            "{:?}",
            reading.errors
        );
    }
    second.abort();
}
