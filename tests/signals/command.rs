//! `heliotrope signals test` as it is typed: what each provider of a file would give, and why one gives nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

/// Answers one question with this body.
fn server(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 4096];
        let _ = stream.read(&mut question).unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close",
            body.len()
        );
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    });
    format!("http://{address}")
}

fn typed(text: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signal.yaml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
    let output = command.args(["signals", "test"]).arg(&file).arg("--tokens").arg(folder.path()).output().unwrap();
    let words = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&file.display().to_string(), "FILE");
    (output.status.code(), words(output.stdout), words(output.stderr))
}

fn signal(providers: &str) -> String {
    format!(
        "apiVersion: heliotrope.dev/v1alpha1\nkind: GridSignal\nmetadata: {{name: x}}\nspec:\n  what: CarbonIntensity\n  zone: GB\n  providers:\n{providers}"
    )
}

#[test]
fn each_provider_says_what_it_would_give() {
    let answer = r#"{"data":[{"from":"2020-01-01T00:00Z","to":"2020-01-01T00:30Z","intensity":{"forecast":186,"actual":190}},
        {"from":"2020-01-01T00:30Z","to":"2020-01-01T01:00Z","intensity":{"forecast":-3,"actual":null}}]}"#;
    let uk = server(answer);
    let (code, out, error) = typed(&signal(&format!(
        "  - server: {{kind: UKCarbonIntensity, url: \"{uk}\"}}
  - server: {{kind: ElectricityMaps, url: \"http://127.0.0.1:9\", token: none}}
  - {{file: {{path: /none.csv}}, format: electricity-maps-csv}}
  - {{configMap: {{name: grid, key: kr.csv}}, format: electricity-maps-csv}}
"
    )));
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "provider 0: National Energy System Operator, Carbon Intensity API",
            "  1 values from 2020-01-01T00:00:00Z until 2020-01-01T00:30:00Z, 0 of them estimated",
            "  licence: CC BY 4.0",
            "  nothing of it is of now: it ends at 2020-01-01T00:30:00Z",
        ]
    );
    assert_eq!(lines[4], "  not used: 1 × Negative (-3 g/kWh is below 0)");
    assert!(
        lines[5].starts_with("provider 1: gives nothing: token ")
            && lines[5].ends_with("No such file or directory (os error 2)"),
        "{out}"
    );
    assert_eq!(lines[6], "provider 2: gives nothing: /none.csv: No such file or directory (os error 2)");
    assert_eq!(lines[7], "provider 3: gives nothing: configMap grid/kr.csv is in the cluster, which is not asked here");
}

#[test]
fn what_gives_nothing_is_a_failure_and_so_is_what_is_no_signal() {
    let (code, out, error) = typed(&signal("  - server: {kind: UKCarbonIntensity, url: \"http://127.0.0.1:9\"}\n"));
    assert_eq!((code, error.as_str()), (Some(2), "heliotrope: no provider gives anything that can be used\n"));
    assert!(out.starts_with("provider 0: gives nothing: 127.0.0.1/intensity/"), "{out}");
    let (code, _, error) = typed(&signal("  - server: {kind: Nobody}\n"));
    assert_eq!(code, Some(2));
    assert!(
        error
            .starts_with("heliotrope: FILE: not a GridSignal: spec.providers[0].server.kind: unknown variant `Nobody`"),
        "{error}"
    );
    for nothing in ["", "[", "x: 1"] {
        let (code, out, error) = typed(nothing);
        assert!(
            code == Some(2) && out.is_empty() && error.starts_with("heliotrope: FILE: not a GridSignal: "),
            "{error}"
        );
    }
}
