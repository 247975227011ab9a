//! The screens on a terminal, and as text.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyEventKind},
};

use crate::{
    app::{After, App, Screen},
    looks::{LookError, Looks},
    screen,
};

/// Shows looks on the terminal until the user has seen enough.
///
/// # Errors
/// Those of the terminal, and why nothing can be seen any more.
pub(crate) fn on_terminal(looks: &mut dyn Looks, has_colours: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut app = App::new(has_colours);
    // Before the terminal is taken over: an error is to be read afterwards.
    take_in(looks, &mut app)?;
    let mut terminal = ratatui::try_init()?;
    let outcome = run(&mut terminal, looks, &mut app);
    ratatui::try_restore()?;
    outcome
}

fn take_in(looks: &mut dyn Looks, app: &mut App) -> Result<(), LookError> {
    match looks.next()? {
        Some(look) => app.look(look),
        None => app.end = Some(looks.end().into()),
    }
    Ok(())
}

fn run(
    terminal: &mut ratatui::DefaultTerminal,
    looks: &mut dyn Looks,
    app: &mut App,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut due = Instant::now() + looks.pause();
    loop {
        if app.end.is_none() && due <= Instant::now() {
            take_in(looks, app)?;
            due = Instant::now() + looks.pause();
        }
        terminal.draw(|frame| screen::draw(frame, app))?;
        let left = if app.end.is_some() { A_WHILE } else { due.saturating_duration_since(Instant::now()) };
        if event::poll(left)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && app.key(key) == After::Quit
        {
            return Ok(());
        }
    }
}

/// Between two drawings of what does not change any more.
const A_WHILE: Duration = Duration::from_secs(3600);

/// Writes all screens as text: those that have something to show.
///
/// # Errors
/// Those of `out`.
pub(crate) fn as_text(app: &mut App, width: u16, out: &mut impl Write) -> io::Result<()> {
    for screen in Screen::ALL {
        app.go(screen);
        let mut terminal = Terminal::new(TestBackend::new(width, 60)).map_err(io::Error::other)?;
        terminal.draw(|frame| screen::draw(frame, app)).map_err(io::Error::other)?;
        let cells = terminal.backend().buffer().content();
        let lines = cells.chunks(usize::from(width));
        let lines = lines.map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
        let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
        // Without the line of keys.
        for line in &lines[..lines.len().saturating_sub(1)] {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
