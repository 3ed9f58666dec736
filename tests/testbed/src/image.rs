//! Images of containers, made from files of this machine: no registry and no builder is needed.

use crate::Error;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image of one layer.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its whole name, as pods ask for it.
    pub name: String,
    /// What runs where a pod says nothing else.
    pub entrypoint: Vec<String>,
    /// Files of this machine, and where they are in the image. The libraries that they are linked to come with them.
    pub files: Vec<(PathBuf, String)>,
}

impl Image {
    /// Writes it as an archive of an OCI image layout (image-spec 1.0), which containerd imports.
    pub(crate) fn write(&self, to: &Path) -> Result<(), Error> {
        let mut blobs: Vec<(String, Vec<u8>)> = Vec::new();
        let mut put = |kind: &str, bytes: Vec<u8>| -> Value {
            let digest = hex(&bytes);
            let said = json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{digest}"),
                "size": bytes.len()});
            blobs.push((digest, bytes));
            said
        };
        let layer = put("layer.v1.tar", self.layer()?);
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Entrypoint": self.entrypoint},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
        let config = put("config.v1+json", config.to_string().into_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [layer]});
        let mut manifest = put("manifest.v1+json", manifest.to_string().into_bytes());
        manifest["annotations"] = json!({"io.containerd.image.name": self.name});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});

        let mut archive = tar::Builder::new(std::fs::File::create(to)?);
        add(&mut archive, "oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#)?;
        add(&mut archive, "index.json", index.to_string().as_bytes())?;
        for (digest, bytes) in blobs {
            add(&mut archive, &format!("blobs/sha256/{digest}"), &bytes)?;
        }
        archive.finish()?;
        Ok(())
    }

    fn layer(&self) -> Result<Vec<u8>, Error> {
        let mut layer = tar::Builder::new(Vec::new());
        layer.sparse(false); // containerd knows no holes, and a large program that was just built may have some
        let mut known = BTreeSet::new();
        for (source, target) in &self.files {
            let libraries = libraries(source)?.into_iter().map(|path| (PathBuf::from(&path), path));
            for (source, target) in std::iter::once((source.clone(), target.clone())).chain(libraries) {
                if known.insert(target.clone()) {
                    let mut file = std::fs::File::open(&source)?;
                    layer.append_file(target.trim_start_matches('/'), &mut file)?;
                }
            }
        }
        Ok(layer.into_inner()?)
    }
}

/// What a program is linked to, by the words of `ldd`; nothing of one that is static.
fn libraries(program: &Path) -> Result<Vec<String>, Error> {
    let said = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect())
}

fn add(archive: &mut tar::Builder<std::fs::File>, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(archive.append_data(&mut header, name, bytes)?)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
