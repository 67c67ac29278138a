//! From settings to a running server, and what its end means as an exit code.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::demo::{DemoUser, greeting};
use super::preflight::{self, Unready};
use super::server::{self, ServerError};
use super::{fail, print};
use crate::config::{Settings, Sources};
use crate::telemetry::logs::{self, LogsError};

/// All that a server is started with.
pub struct Launch {
    pub settings: Settings,
    pub mode: Mode,
}

pub enum Mode {
    /// For this machine only, with these users on the page.
    Demo(Vec<DemoUser>),
    /// With what the settings were made from: SIGHUP reads it again.
    Serve(Sources),
}

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error(transparent)]
    Unready(#[from] Unready),
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

pub fn launch(launch: Launch) -> ExitCode {
    match start(&launch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn start(launch: &Launch) -> Result<(), LaunchError> {
    let settings = &launch.settings;
    preflight::address(settings.listen, launch.mode.listen_flag())?;
    if let Some((address, _)) = settings.admin_side() {
        preflight::address(address, "--admin-listen")?;
    }
    preflight::data_directory(&settings.data)?;
    let logs = logs::init(settings.log.level)?;
    server::serve(launch, &logs, |listening| announce(launch, listening))?;
    Ok(())
}

/// Tells whoever started the server that it listens.
fn announce(launch: &Launch, listening: SocketAddr) {
    match &launch.mode {
        // stdout may be gone; the server runs all the same.
        Mode::Demo(users) => {
            let _ = print(&greeting(listening, &launch.settings.data, users));
        }
        Mode::Serve(_) => tracing::info!(address = %listening, "listening"),
    }
}

impl Mode {
    fn listen_flag(&self) -> &'static str {
        match self {
            Mode::Demo(_) => "--port",
            Mode::Serve(_) => "--listen",
        }
    }
}
