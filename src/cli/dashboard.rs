//! The terminal of `schedlog watch`: taken at the start, given back however it ends.

use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use crate::cli::stopwatch::millis;
use crate::cli::watch::LOOK_MS;
use crate::view::watch::{Engine, screen};

/// Shows the dashboard until the user quits.
///
/// # Errors
/// If the terminal cannot be used.
pub(super) fn run(engines: &mut [Engine]) -> anyhow::Result<()> {
    // A panic gives the terminal back too, before its message is shown.
    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    let outcome = show(&mut terminal, engines);
    ratatui::try_restore().context("the terminal cannot be given back")?;
    outcome
}

fn show(terminal: &mut ratatui::DefaultTerminal, engines: &mut [Engine]) -> anyhow::Result<()> {
    let (mut chosen, mut paused) = (0, false);
    loop {
        if !paused {
            for engine in engines.iter_mut() {
                engine.look();
            }
        }
        terminal
            .draw(|frame| screen::draw(frame, engines, chosen, paused))
            .context("the terminal cannot be written")?;
        // Keys are answered at once, files looked at every so often; a change of size is an event too.
        if !event::poll(millis(LOOK_MS)).context("the terminal cannot be read")? {
            continue;
        }
        let Event::Key(key) = event::read().context("the terminal cannot be read")? else {
            continue;
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        let count = engines.len();
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Tab | KeyCode::Down | KeyCode::Char('j') => chosen = (chosen + 1) % count,
            KeyCode::BackTab | KeyCode::Up | KeyCode::Char('k') => {
                chosen = (chosen + count - 1) % count;
            }
            KeyCode::Char(' ') => paused = !paused,
            _ => {}
        }
    }
}
