//! Keys, certificates and tokens of one testbed. They are worth nothing outside it.

use crate::Error;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::Path;

/// Users of the control plane: token, name, id, group. Tokens can be plain: the server listens on loopback only.
const TOKENS: &str = "\
admin,admin,1,\"system:masters\"
manager,system:kube-controller-manager,2,\"\"
scheduler,system:kube-scheduler,3,\"\"
";

/// Writes `ca.crt`, `server.crt`, `server.key`, `accounts.key`, `accounts.pub` and `tokens.csv` into a folder.
pub(crate) fn write(folder: &Path) -> Result<(), Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);
    let server_key = KeyPair::generate()?;
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned).to_vec();
    let server = CertificateParams::new(names)?.signed_by(&server_key, &issuer)?;
    let accounts = KeyPair::generate()?;
    for (name, text) in [
        ("ca.crt", ca_certificate.pem()),
        ("server.crt", server.pem()),
        ("server.key", server_key.serialize_pem()),
        ("accounts.key", accounts.serialize_pem()),
        ("accounts.pub", accounts.public_key_pem()),
        ("tokens.csv", TOKENS.to_owned()),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
