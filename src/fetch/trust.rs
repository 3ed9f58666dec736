//! Which servers are believed to be who they say: those with a certificate of an authority that this machine trusts, or that a file has, as a
//! company's own. The file is read anew for each question, so that one that was changed counts at once.

use super::{excerpt, regular};
use axum::body::Bytes;
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The largest file of certificates. All of Mozilla's are a fifth of one MiB.
const MOST: u64 = 1 << 20;

pub(super) type Asking = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Why a server is not believed to be the one that was meant. No token was sent to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Nobody that is trusted has signed its certificate.
    #[error(
        "its certificate is of an authority that is not trusted here: put that authority's certificate (PEM) into the file that caFile names"
    )]
    UnknownAuthority,
    /// Its certificate has ended.
    #[error("its certificate has expired: it must be renewed there, or the clock of this machine is wrong")]
    Expired,
    /// Its certificate has not begun.
    #[error("its certificate is not valid yet: the clock of this machine is wrong, or that of whoever made it")]
    NotYet,
    /// Its certificate is for others.
    #[error("its certificate is for {0} and not for the host that was asked: name that host in `url`")]
    OtherHost(String),
    /// It doesn't speak TLS.
    #[error("what listens there does not speak TLS: say http:// in `url`, or another port")]
    NotTls,
    /// Something else, in the words of TLS.
    #[error("TLS: {0}")]
    Other(String),
}

impl Distrust {
    /// What TLS said, where it did, of a question that failed.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::said(tls));
            }
            // an error of I/O doesn't name what it holds as its source, and may hold another of I/O
            let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            next = held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source());
        }
        None
    }

    fn said(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(wrong) => match wrong {
                CertificateError::UnknownIssuer => Self::UnknownAuthority,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
                CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                    // as DnsName("grid.example")
                    let bare = |name: &String| {
                        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner);
                        inner.trim_matches(['"', ')']).to_owned()
                    };
                    let names: Vec<String> = presented.iter().map(bare).collect();
                    Self::OtherHost(excerpt(names.join(", ").as_bytes()))
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::OtherHost("no host".to_owned())
                }
                other => Self::Other(excerpt(format!("its certificate is refused: {other}").as_bytes())),
            },
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            other => Self::Other(excerpt(other.to_string().as_bytes())),
        }
    }
}

/// The file as it was read last, and what was made of it.
type Made = Option<(Vec<u8>, Asking)>;

/// Whom to believe.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    file: Option<PathBuf>,
    made: Arc<Mutex<Made>>,
}

impl Trust {
    /// Authorities of the machine, and those of a file.
    pub(super) fn and(file: PathBuf) -> Self {
        Self { file: Some(file), made: Arc::default() }
    }

    /// What asks. Over plain HTTP nobody has to be believed.
    pub(super) fn client(&self, is_tls: bool) -> Result<Asking, String> {
        if !is_tls {
            return asking(RootCertStore::empty());
        }
        let text = self.file.as_deref().map(text).transpose()?.unwrap_or_default();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = made.as_ref().filter(|(known, _)| *known == text) {
            return Ok(client.clone());
        }
        let mut roots = RootCertStore::empty();
        // some of a machine's are of no use to anybody
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.file {
            add(&mut roots, &text).map_err(|why| format!("caFile {}: {why}", file.display()))?;
        }
        if roots.is_empty() {
            return Err("this machine has no certificates of authorities, so nobody is asked over TLS: name a file of them (PEM) as caFile".to_owned());
        }
        let client = asking(roots)?;
        *made = Some((text, client.clone()));
        Ok(client)
    }
}

fn text(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("caFile {}: {why}", path.display());
    let mut text = Vec::new();
    let file = regular::open(path).map_err(|why| failed(&why))?;
    file.take(MOST + 1).read_to_end(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > MOST { Err(failed(&"has more than 1 MiB")) } else { Ok(text) }
}

/// The certificates of a file, all of them or none.
fn add(roots: &mut RootCertStore, text: &[u8]) -> Result<(), String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(text) {
        count += 1;
        let certificate = certificate.map_err(|error| error.to_string());
        let added = certificate.and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|error| format!("certificate {count} can't be read: {}", excerpt(error.as_bytes())))?;
    }
    if count == 0 { Err("has no certificate: PEM is needed, -----BEGIN CERTIFICATE-----".to_owned()) } else { Ok(()) }
}

fn asking(roots: RootCertStore) -> Result<Asking, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("TLS: {error}"))?.with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    // a question each few minutes: no connection is kept, so none is half open
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}
