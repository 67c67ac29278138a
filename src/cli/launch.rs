//! From settings to a running server, and what its end means as an exit code.

use std::process::ExitCode;

use super::demo::{DemoUser, greeting};
use super::preflight::{self, Unready};
use super::server::{self, Addresses, ServerError};
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
    server::serve(launch, &logs, |addresses| announce(launch, addresses))?;
    Ok(())
}

/// Tells whoever started the server where it listens: in the log, and on stdout in lines that a script
/// can wait for. stdout may be gone; the server runs all the same.
fn announce(launch: &Launch, addresses: Addresses) {
    let Addresses { public, admin } = addresses;
    tracing::info!(address = %public, admin = ?admin, "listening");
    let mut lines = format!("listening on http://{public}\n");
    if let Some(admin) = admin {
        lines += &format!("admin on http://{admin}\n");
    }
    let _ = print(&lines);
    if let Mode::Demo(users) = &launch.mode {
        let _ = print(&greeting(public, &launch.settings.data, users));
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
