//! `schedlog watch`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register;

use crate::check::CheckOptions;
use crate::cli::stopwatch::{Stopwatch, pause_ms};
use crate::cli::{EXIT_CLEAN, EXIT_VIOLATED, output};
use crate::view::watch::{Engine, News, finding_line, header_line, status_line};

/// Between two looks at the files.
pub(super) const LOOK_MS: u64 = 200;

/// Follow the log of one or several engines while it is written, and check it on the way.
///
/// On a terminal: a dashboard (q quits, Tab and the arrows choose an engine). Otherwise, or with
/// --plain: one line per second and engine, and one per finding, at once.
///
/// Ctrl-C or SIGTERM ends it as q does. Exit code: 0, or 1 if a finding was an error; 2 if --once
/// finds no log, or none whose steps can be read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directories of the logs; without --once they need not be there yet.
    #[arg(value_name = "DIR", required = true)]
    dirs: Vec<PathBuf>,
    /// Lines of text instead of a dashboard.
    #[arg(long)]
    plain: bool,
    /// Read what is there, say it in lines, and end.
    #[arg(long)]
    once: bool,
}

/// Runs the command.
///
/// # Errors
/// If stdout or the terminal cannot be used. A log that cannot be read is said so in the dashboard.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let options = CheckOptions::default();
    let mut engines: Vec<_> = args.dirs.iter().map(|dir| Engine::new(dir, &options)).collect();
    if args.once {
        if let Some(missing) = args.dirs.iter().find(|dir| !dir.is_dir()) {
            anyhow::bail!("{}: there is no such directory; name that of a log", missing.display());
        }
        once(&mut engines)?;
    } else if !args.plain && on_terminal() {
        dashboard(&mut engines)?;
    } else {
        lines(&mut engines)?;
    }
    let errors: u64 = engines.iter().map(|engine| engine.counts.0).sum();
    Ok(if errors > 0 { EXIT_VIOLATED } else { EXIT_CLEAN })
}

#[cfg(feature = "tui")]
fn on_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

#[cfg(not(feature = "tui"))]
const fn on_terminal() -> bool {
    false
}

#[cfg(feature = "tui")]
fn dashboard(engines: &mut [Engine]) -> anyhow::Result<()> {
    super::dashboard::run(engines)
}

#[cfg(not(feature = "tui"))]
fn dashboard(engines: &mut [Engine]) -> anyhow::Result<()> {
    lines(engines)
}

fn say(text: &str) -> anyhow::Result<()> {
    output::check_stdout()?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(output::stdout_error)
}

fn say_news(engine: &Engine, news: &News) -> anyhow::Result<()> {
    if news.restarted {
        say(&format!("{}: read anew", engine.name))?;
    }
    news.findings.iter().try_for_each(|finding| say(&finding_line(&engine.name, finding)))
}

fn once(engines: &mut [Engine]) -> anyhow::Result<()> {
    say(&header_line())?;
    for engine in engines {
        let news = engine.catch_up();
        if let Some(obstacle) = engine.obstacle() {
            anyhow::bail!(obstacle);
        }
        say_news(engine, &News { restarted: false, ..news })?;
        say(&status_line(engine))?;
    }
    Ok(())
}

fn lines(engines: &mut [Engine]) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        register(signal, Arc::clone(&stop))?;
    }
    say(&header_line())?;
    let mut since = Stopwatch::start();
    while !stop.load(Ordering::Relaxed) {
        for engine in engines.iter_mut() {
            let news = engine.look();
            say_news(engine, &news)?;
        }
        if since.seconds() >= 1.0 {
            since = Stopwatch::start();
            engines.iter().try_for_each(|engine| say(&status_line(engine)))?;
        }
        pause_ms(LOOK_MS);
    }
    engines.iter().try_for_each(|engine| say(&status_line(engine)))
}
