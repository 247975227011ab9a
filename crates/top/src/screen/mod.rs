//! The screens: a look, drawn. 80 columns and 24 lines suffice.
//!
//! Nothing is said by colour alone: what matters has a word or a mark, and the colours are blue and yellow, which
//! colour-blind people can tell apart. Without colours (`NO_COLOR`) there is bold type and reverse.

mod format;
mod locks;
mod pools;
mod processes;
mod queues;
mod waits;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use crate::{
    app::{App, Screen},
    model::{FindingKind, Snapshot},
};

/// How something is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Plain,
    Title,
    /// Something that works.
    Busy,
    /// Something that is to be looked at.
    Alarm,
    Quiet,
}

fn style(mood: Mood, has_colours: bool) -> Style {
    let plain = Style::default();
    let coloured = |colour: Color| if has_colours { plain.fg(colour) } else { plain };
    match mood {
        Mood::Plain => plain,
        Mood::Title => coloured(Color::LightBlue).add_modifier(Modifier::BOLD),
        Mood::Busy => coloured(Color::LightBlue),
        Mood::Alarm => coloured(Color::Yellow).add_modifier(Modifier::BOLD | Modifier::REVERSED),
        Mood::Quiet => plain.add_modifier(Modifier::DIM),
    }
}

/// A line of a screen.
struct Row {
    text: String,
    mood: Mood,
    /// Stays when others are filtered out: a heading.
    is_heading: bool,
}

impl Row {
    fn new(text: String, mood: Mood) -> Self {
        Self { text, mood, is_heading: false }
    }

    fn heading(text: impl Into<String>) -> Self {
        Self { text: text.into(), mood: Mood::Title, is_heading: true }
    }
}

/// Draws the screen that is chosen.
pub(crate) fn draw(frame: &mut Frame, app: &App) {
    let wrong = finding_lines(app, frame.area());
    let [title, tabs, findings, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(wrong.len() as u16),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title_line(app), title);
    frame.render_widget(tab_line(app), tabs);
    let Some(snapshot) = &app.shown else {
        frame.render_widget(Paragraph::new("looking …"), body);
        return;
    };
    frame.render_widget(Paragraph::new(wrong), findings);
    draw_rows(frame, body, app, snapshot);
    frame.render_widget(foot_line(app, snapshot), foot);
    if app.shows_help {
        draw_help(frame, app);
    }
}

fn title_line(app: &App) -> Line<'_> {
    let title = match &app.shown {
        Some(snapshot) => format!("top: {} ({})", snapshot.command, snapshot.root),
        None => "top".into(),
    };
    Line::styled(title, style(Mood::Title, app.has_colours))
}

fn tab_line(app: &App) -> Line<'_> {
    let mut spans = Vec::new();
    for (n, screen) in Screen::ALL.into_iter().enumerate() {
        let text = format!(" {}:{} ", n + 1, screen.name());
        let is_chosen = screen == app.screen;
        let style = if is_chosen { Style::default().add_modifier(Modifier::REVERSED) } else { Style::default() };
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

/// Lines that findings get at most: a quarter of the screen, and on a large one not much more than on a small one.
fn most_finding_lines(height: u16) -> usize {
    usize::from(height / 4).clamp(1, 6)
}

/// What is wrong, in so many lines; the last one says so if that is not all.
fn finding_lines(app: &App, area: Rect) -> Vec<Line<'static>> {
    let mark = |kind| match kind {
        FindingKind::Deadlock | FindingKind::Stuck => "!!",
        FindingKind::Stopped | FindingKind::Dead => "! ",
    };
    let findings = app.shown.iter().flat_map(|snapshot| &snapshot.findings);
    let texts = findings
        .flat_map(|finding| format::wrap(&format!("{}{}", mark(finding.kind), finding.text), usize::from(area.width)));
    let (mut texts, most) = (texts.collect::<Vec<String>>(), most_finding_lines(area.height));
    if texts.len() > most {
        let n_hidden = texts.len() - most + 1;
        texts.truncate(most - 1);
        texts.push(format!("!!{n_hidden} more lines of what is wrong: --text has all"));
    }
    texts.into_iter().map(|text| Line::styled(text, style(Mood::Alarm, app.has_colours))).collect()
}

fn draw_rows(frame: &mut Frame, area: Rect, app: &App, snapshot: &Snapshot) {
    let rows = match app.screen {
        Screen::Processes => processes::rows(snapshot, app),
        Screen::Pools => pools::rows(snapshot, app),
        Screen::Queues => queues::rows(snapshot, app),
        Screen::Locks => locks::rows(snapshot, app),
        Screen::Waits => waits::rows(snapshot, app),
    };
    let rows = rows.into_iter().filter(|row| row.is_heading || app.matches(&row.text));
    let lines = rows.flat_map(|row| {
        let style = style(row.mood, app.has_colours);
        format::wrap(&row.text, usize::from(area.width)).into_iter().map(move |text| Line::styled(text, style))
    });
    let lines: Vec<Line> = lines.collect();
    // The last page stays full.
    let first = app.first_row.min(lines.len().saturating_sub(usize::from(area.height)));
    let lines = lines.into_iter().skip(first);
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

fn foot_line<'a>(app: &'a App, snapshot: &'a Snapshot) -> Line<'a> {
    let text = if app.is_typing {
        format!("filter: {}_   (Enter keeps it, Esc gives it up)", app.filter)
    } else if let Some(end) = &app.end {
        format!("{end}   q quit")
    } else {
        let frozen = if app.is_frozen { "FROZEN  " } else { "" };
        let filter = if app.filter.is_empty() { String::new() } else { format!("filter {:?}  ", app.filter) };
        let note = snapshot.notes.first().map_or("", String::as_str);
        format!("{frozen}{filter}? help  s order: {}  / filter  f freeze  q quit  {note}", app.order())
    };
    Line::styled(text, style(Mood::Quiet, app.has_colours))
}

const HELP: &str = "\
1-5, Tab   screens: processes, pools, queues and pipes, locks, waits
s          another order of the rows
/          filter: rows that have these letters
f, space   freeze and go on
arrows, PageUp, PageDown, Home   scroll
q          quit

Above the rows stands what is wrong: a deadlock with all who are in it, a
chain of waits that ends in a stopped or dead process.
Times are for how long looks have found something as it is; with a > it was
so at the first look, and may have been long before.
A waiting thread is known by where it sleeps in the kernel; depths, holders
and tasks are read from the program's shared memory, which is only read.
Locks of threads, and what else is in a process's own memory, cannot be
seen from outside.";

fn draw_help(frame: &mut Frame, app: &App) {
    let area = frame.area();
    let width = area.width.min(78);
    let height = area.height.min(HELP.lines().count() as u16 + 2);
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    frame.render_widget(Clear, place);
    let help = Paragraph::new(HELP).block(Block::bordered().title(" help ")).style(style(Mood::Plain, app.has_colours));
    frame.render_widget(help, place);
}

#[cfg(test)]
mod tests;
