//! The socket: who may, one agent at a time, and what is not understood.

use crate::node::{Actuator, Plant, read_back, wait};
use heliotrope::actuator::client::{Client, ClientError};
use heliotrope::actuator::protocol::{LONGEST_LINE, RequestRefusal, Role};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

fn mode(plant: &Plant) -> u32 {
    std::fs::metadata(plant.socket()).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_second_agent_is_told_so_and_may_only_look() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    let mut first = actuator.agent().await;
    first.order(plant.order(1, &[(0, 400, 60_000, 300)])).await.unwrap();
    let mut second = Client::connect(&plant.socket()).await.unwrap();
    let welcome = second.hello(Role::Agent, "second").await.unwrap();
    assert!(!welcome.may_order);
    let why = welcome.why_not.unwrap();
    assert_eq!(why.reason, RequestRefusal::AnotherAgent);
    assert!(why.message.contains("agent of a test"), "{}", why.message);
    let error = second.order(plant.order(2, &[(0, 600, 60_000, 300)])).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(refused) if refused.reason == RequestRefusal::AnotherAgent));
    assert_eq!(second.observe().await.unwrap().gpus.len(), 1);
    assert_eq!(plant.limits(), [400]);
    // the first only looks from now on: the second takes over
    first.hello(Role::Observer, "agent of a test").await.unwrap();
    let answer = second.order(plant.order(2, &[(0, 600, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (600, 600));
    // it goes without a word: the next one may
    drop(second);
    wait(200).await;
    actuator.agent().await;
}

#[tokio::test]
async fn another_user_is_turned_away() {
    let plant = Plant::new(1);
    let mut actuator = plant.start(&[]).await;
    assert_eq!(mode(&plant), 0o600);
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can be another user");
        return;
    }
    // the socket's mode keeps others out; should it ever not, the kernel says who they are
    let open = |plant: &Plant| {
        std::fs::set_permissions(plant.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(plant.socket(), std::fs::Permissions::from_mode(0o666)).unwrap();
    };
    // a copy, where every user may read it
    let program =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir_in("/tmp").unwrap();
    let copy = program.path().join("heliotrope");
    std::fs::copy(env!("CARGO_BIN_EXE_heliotrope"), &copy).unwrap();
    let look = |uid: u32| {
        let mut command = std::process::Command::new(&copy);
        command.args(["actuator", "--observe", "--socket"]).arg(plant.socket()).uid(uid).gid(uid);
        let output = command.output().unwrap();
        (output.status.success(), format!("{:?}", output))
    };
    open(&plant);
    let (good, said) = look(65_532);
    assert!(!good && said.contains("WrongUser") && said.contains("--allow-uid 65532"), "{said}");
    assert!(look(0).0);
    // allowed by name
    drop(actuator);
    actuator = plant.start(&["--allow-uid", "65532"]).await;
    assert_eq!(mode(&plant), 0o660);
    open(&plant);
    let (good, said) = look(65_532);
    assert!(good && said.contains("enforcedWatts"), "{said}");
    assert!(!look(65_533).0);
    assert!(actuator.log().contains("a client was turned away"));
}

/// Lines as they are on the wire.
struct Raw(BufReader<UnixStream>);

impl Raw {
    async fn connect(plant: &Plant) -> Self {
        Self(BufReader::new(UnixStream::connect(plant.socket()).await.unwrap()))
    }

    async fn send(&mut self, text: &str) -> Option<Value> {
        // it may have been closed on us meanwhile: what was answered is read all the same
        let _ = self.0.write_all(text.as_bytes()).await;
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(5), self.0.read_line(&mut line)).await.unwrap();
        (read.unwrap_or(0) > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    async fn refused(&mut self, text: &str) -> Value {
        self.send(text).await.unwrap()["answer"]["refused"]["reason"].take()
    }
}

async fn alive(actuator: &Actuator) {
    assert_eq!(actuator.observe().await.gpus.len(), 1);
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_hurts_nobody() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    let mut raw = Raw::connect(&plant).await;
    let uuid = &plant.uuids[0];
    let gpu = json!({"uuid": uuid, "limitWatts": 400, "endsAtBootMillis": 99_999_999_999_u64, "fallWatts": 300});
    let order = json!({"version": 1, "request": {"order": {"sequence": 1, "gpus": [gpu]}}});
    assert_eq!(raw.refused(&format!("{order}\n")).await, "HelloFirst");
    let hello = r#"{"version":1,"request":{"hello":{"role":"Agent","name":"raw"}}}"#;
    let welcome = raw.send(&format!("{hello}\n")).await.unwrap();
    assert_eq!(welcome["answer"]["hello"]["mayOrder"], true, "{welcome}");
    let with = |field: &str, value: Value| {
        let mut order = order.clone();
        order["request"]["order"]["gpus"][0][field] = value;
        format!("{order}\n")
    };
    let mut many = vec![
        "\n".to_owned(),
        "{\n".to_owned(),
        "null\n".to_owned(),
        "[1]\n".to_owned(),
        "{\"version\":1}\n".to_owned(),
        "{\"version\":1,\"request\":{\"observe\":{},\"order\":{}}}\n".to_owned(),
        "{\"version\":1,\"request\":{\"observe\":{}},\"more\":1}\n".to_owned(),
        "{\"version\":1,\"request\":{\"shutdown\":{}}}\n".to_owned(),
        with("limitWatts", json!(400.5)),
        with("limitWatts", json!("400")),
        with("limitWatts", Value::Null),
        with("limitWatts", json!(1e300)),
        with("endsAtBootMillis", json!(-1)),
        with("limitWats", json!(400)),
    ];
    many.push(format!("{}\n", "[".repeat(60_000)));
    for text in many {
        assert_eq!(raw.refused(&text).await, "BadRequest", "{}", &text[..text.len().min(200)]);
    }
    assert_eq!(raw.refused("{\"version\":2,\"request\":{\"fly\":1}}\n").await, "UnsupportedVersion");
    assert_eq!(plant.limits(), [700]);
    // after all this the same connection still orders
    let answer = raw.send(&format!("{order}\n")).await.unwrap();
    let outcome = &answer["answer"]["order"]["gpus"][0]["outcome"]["readBack"];
    assert_eq!((&outcome["limitWatts"], &outcome["enforcedWatts"]), (&json!(400), &json!(400)), "{answer}");
    assert_eq!(outcome["obedience"], "Holds");
    assert!(outcome["notes"][0]["EndBroughtForward"]["endsAtBootMillis"].is_u64(), "{answer}");

    // a line without end
    let mut raw = Raw::connect(&plant).await;
    assert_eq!(raw.refused(&"x".repeat(LONGEST_LINE + 2)).await, "TooLong");
    assert_eq!(raw.send("\n").await, None, "and the connection ends");
    alive(&actuator).await;
}

#[tokio::test]
async fn many_clients_silent_clients_and_deaf_ones_hurt_nobody() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    let mut silent = Vec::new();
    for _ in 0..7 {
        silent.push(Raw::connect(&plant).await);
    }
    wait(100).await;
    let mut ninth = Raw::connect(&plant).await;
    assert_eq!(ninth.refused("\n").await, "TooManyClients");
    let answer = agent.order(plant.order(1, &[(0, 400, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (400, 400));
    // one that asks and never reads is let go; its room is free again
    let hello = "{\"version\":1,\"request\":{\"hello\":{\"role\":\"Observer\",\"name\":\"deaf\"}}}\n";
    let ask = "{\"version\":1,\"request\":{\"observe\":{}}}\n".repeat(3000);
    let mut deaf = silent.pop().unwrap();
    deaf.0.write_all(hello.as_bytes()).await.unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(2), deaf.0.write_all(ask.as_bytes())).await;
    wait(6000).await;
    alive(&actuator).await;
    assert!(actuator.log().contains("does not take its answer"), "{}", actuator.log());
}

#[tokio::test]
async fn what_is_no_socket_is_not_removed() {
    let plant = Plant::new(1);
    std::fs::write(plant.socket(), "precious").unwrap();
    let output = plant.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("something that is no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(plant.socket()).unwrap(), "precious");
}
