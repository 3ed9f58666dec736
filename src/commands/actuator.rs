//! `heliotrope actuator`.

use super::stop::told_to_end;
use super::{CommandError, logs, usage};
use crate::actuator::boot_guard::{GuardError, Guarded, Safe, guard};
use crate::actuator::client::Client;
use crate::actuator::device::Devices;
use crate::actuator::network;
use crate::actuator::node::{Node, Settings};
use crate::actuator::nvml::Library;
use crate::actuator::protocol::Role;
use crate::actuator::server::{Allowed, bind, serve};
use crate::actuator::state::{Found, State};
use crate::clock::Stopwatch;
use crate::units::Watts;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// The arguments of `actuator`.
#[derive(Debug, Args)]
pub struct Actuator {
    /// The Unix socket that the agent connects to.
    #[arg(long, default_value = "/run/heliotrope/actuator.sock")]
    socket: PathBuf,
    /// NVIDIA's management library, where the loader doesn't find it.
    #[arg(long, env = "HELIOTROPE_NVML_LIBRARY")]
    library: Option<PathBuf>,
    /// Where the limits that GPUs fall to are remembered.
    #[arg(long, default_value = "/var/lib/heliotrope")]
    state_dir: PathBuf,
    /// A file that tells one boot from another.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id", value_name = "FILE")]
    boot_id_file: PathBuf,
    /// A user that may connect, beside root and our own. May be given several times.
    #[arg(long, value_name = "UID")]
    allow_uid: Vec<u32>,
    /// A group whose members may connect. May be given several times.
    #[arg(long, value_name = "GID")]
    allow_gid: Vec<u32>,
    /// Never set a limit above this on any GPU, whatever is ordered.
    #[arg(long, value_name = "WATTS", value_parser = watts)]
    max_watts_per_gpu: Option<Watts>,
    /// Let every GPU fall to this at the start, where it is lower than what is in force. With --boot-guard: the safe
    /// limit of GPUs that none is remembered for.
    #[arg(long, value_name = "WATTS", value_parser = watts)]
    safe_watts: Option<Watts>,
    /// Bring every GPU down to its safe limit, read it back and end. To be run before the kubelet starts.
    #[arg(long, conflicts_with = "observe")]
    boot_guard: bool,
    /// With --boot-guard: try again for so many seconds, where the driver or a GPU is not there yet.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "boot_guard")]
    wait: u64,
    /// Print what a running actuator sees and holds, as JSON, and end.
    #[arg(long)]
    observe: bool,
    /// Stay in the network. By default it is left, which needs the capability SYS_ADMIN.
    #[arg(long)]
    keep_network: bool,
    /// Write logs as JSON.
    #[arg(long)]
    log_json: bool,
}

impl Actuator {
    pub(super) fn run(self) -> Result<(), CommandError> {
        if self.observe {
            return self.runtime()?.block_on(self.look());
        }
        logs::to_stderr(self.log_json);
        // before any thread is started, and before a library that we did not write is loaded
        if !self.keep_network {
            network::leave().map_err(|error| usage(&error))?;
        }
        if self.boot_guard {
            return self.guard_in_time();
        }
        let devices = self.devices()?;
        self.runtime()?.block_on(self.serve(devices))
    }

    fn devices(&self) -> Result<Arc<dyn Devices>, CommandError> {
        let library = Library::load(self.library.as_deref()).map_err(|error| {
            CommandError::Usage(format!(
                "{error}. Is NVIDIA's driver installed and loaded? --library names the library"
            ))
        })?;
        Ok(Arc::new(library))
    }

    /// One thread: what takes time is done by the GPUs' own.
    fn runtime(&self) -> Result<tokio::runtime::Runtime, CommandError> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| usage(&error))
    }

    async fn serve(self, devices: Arc<dyn Devices>) -> Result<(), CommandError> {
        // A GPU whose thread is gone has no switch any more. Started anew the process has: it raises nothing by that.
        let said = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            said(panic);
            std::process::abort();
        }));
        let told = told_to_end()?;
        let others = !self.allow_uid.is_empty() || !self.allow_gid.is_empty();
        let own = nix::unistd::geteuid().as_raw();
        let mut allowed = Allowed { uids: self.allow_uid, gids: self.allow_gid };
        allowed.uids.extend([0, own]);
        // the socket first: where another actuator holds this node's GPUs, nothing is touched
        let listener = bind(&self.socket, if others { 0o660 } else { 0o600 }).map_err(|error| usage(&error))?;
        std::fs::create_dir_all(&self.state_dir).map_err(CommandError::file(&self.state_dir))?;
        let boot_id = std::fs::read_to_string(&self.boot_id_file).map_err(CommandError::file(&self.boot_id_file))?;
        let boot_id = boot_id.trim().to_owned();
        let settings = Settings {
            ceiling: self.max_watts_per_gpu,
            safe: self.safe_watts,
            state_folder: self.state_dir,
            boot_id: boot_id.clone(),
        };
        let node = Node::start(devices, settings).map_err(|error| usage(&error))?;
        tracing::info!(socket = %self.socket.display(), keep_network = self.keep_network, "listening");
        tokio::select! {
            () = serve(listener, node.clone(), boot_id, allowed) => {}
            () = told => {}
        }
        node.end();
        let _ = std::fs::remove_file(&self.socket);
        tracing::info!("told to end: no limit was changed, GPUs keep what they have");
        Ok(())
    }

    /// The guard, again and again where it was told to wait.
    fn guard_in_time(&self) -> Result<(), CommandError> {
        let found = State::load(&self.state_dir);
        if let Found::Torn(why) = &found {
            let folder = self.state_dir.display();
            eprintln!("{folder}: the state is not believed: {why}. Every GPU gets the lowest limit that it takes");
        }
        if found == Found::Nothing && self.safe_watts.is_none() {
            return Err(usage(&GuardError::NoSafeLimit));
        }
        let since = Stopwatch::start();
        let mut devices = None;
        loop {
            let tried = match &devices {
                Some(devices) => self.guard(devices, &found),
                None => self.devices().and_then(|opened| self.guard(devices.insert(opened), &found)),
            };
            match tried {
                Err(error) if since.millis() < self.wait.saturating_mul(1000) => {
                    eprintln!("heliotrope: {error}. It is tried again");
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
                done => return done,
            }
        }
    }

    fn guard(&self, devices: &Arc<dyn Devices>, found: &Found) -> Result<(), CommandError> {
        let guarded = guard(devices, found, self.safe_watts).map_err(|error| usage(&error))?;
        let mut unsafe_gpus = 0;
        for Guarded { gpu, result } in &guarded {
            let name = format!("GPU {} ({})", gpu.index, gpu.uuid);
            match result {
                Ok(Safe { found, limit, enforced }) => {
                    println!("{name}: {found} was in force, safe at {limit}, {enforced} is read back");
                }
                Err(why) => {
                    unsafe_gpus += 1;
                    println!("{name}: NOT SAFE: {why}");
                }
            }
        }
        if unsafe_gpus == 0 {
            return Ok(());
        }
        Err(CommandError::Usage(format!(
            "{unsafe_gpus} of {} GPUs are not at their safe limit: do not start work on this node. Look at the driver's \
             log (dmesg, nvidia-smi), reset or remove the GPU, and run this again",
            guarded.len()
        )))
    }

    async fn look(&self) -> Result<(), CommandError> {
        let mut client = Client::connect(&self.socket).await.map_err(|error| usage(&error))?;
        client.hello(Role::Observer, "heliotrope actuator --observe").await.map_err(|error| usage(&error))?;
        let seen = client.observe().await.map_err(|error| usage(&error))?;
        println!("{}", serde_json::to_string_pretty(&seen).map_err(|error| usage(&error))?);
        Ok(())
    }
}

/// Watts of a GPU: a number, or one with a unit.
fn watts(text: &str) -> Result<Watts, String> {
    let watts = match text.parse::<i64>() {
        Ok(number) => Watts(number),
        Err(_) => text.parse::<Watts>().map_err(|error| error.to_string())?,
    };
    if watts > Watts::ZERO { Ok(watts) } else { Err("must be above 0: zero is never \"no limit\"".to_owned()) }
}
