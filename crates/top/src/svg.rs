//! The screens as an animated picture: a demonstration that any browser shows.

use std::{fmt::Write as _, io, thread, time::Duration};

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

use crate::{
    app::{App, Screen},
    looks::{LookError, Looks},
    model::Snapshot,
    screen,
};

const COLUMNS: u16 = 80;
const ROWS: u16 = 24;
/// Of a character, in pixels.
const WIDTH: usize = 9;
const HEIGHT: usize = 18;
/// Around the screen.
const MARGIN: usize = 9;

/// Draws the looks of so long, screen after screen. Of a recording nothing is waited for.
///
/// # Errors
/// Why nothing can be seen, and those of `out`.
pub(crate) fn draw(
    looks: &mut dyn Looks,
    is_live: bool,
    time: Duration,
    has_colours: bool,
    out: &mut impl io::Write,
) -> Result<usize, Box<dyn std::error::Error>> {
    let seen = take_looks(looks, is_live, time)?;
    let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return Err(looks.end().into()) };
    let seconds = (last.at_ms.saturating_sub(first.at_ms) as f64 / 1000.0).max(1.0);
    let n_looks = seen.len();
    let mut app = App::new(has_colours);
    let mut frames = Vec::new();
    for (number, look) in seen.into_iter().enumerate() {
        let screen = Screen::ALL[number * Screen::ALL.len() / n_looks];
        if screen != app.screen {
            app.go(screen);
        }
        app.look(look);
        let mut terminal = Terminal::new(TestBackend::new(COLUMNS, ROWS))?;
        terminal.draw(|frame| screen::draw(frame, &app))?;
        frames.push(picture(terminal.backend().buffer()));
    }
    out.write_all(animation(&frames, seconds).as_bytes())?;
    out.flush()?;
    Ok(n_looks)
}

fn take_looks(looks: &mut dyn Looks, is_live: bool, time: Duration) -> Result<Vec<Snapshot>, LookError> {
    let mut seen: Vec<Snapshot> = Vec::new();
    while let Some(look) = looks.next()? {
        let is_late = |first: &Snapshot| u128::from(look.at_ms.saturating_sub(first.at_ms)) > time.as_millis();
        if seen.first().is_some_and(is_late) || seen.len() == MAX_FRAMES {
            break;
        }
        seen.push(look);
        if is_live {
            thread::sleep(looks.pause());
        }
    }
    Ok(seen)
}

/// Each is some kilobytes.
const MAX_FRAMES: usize = 1000;

/// One frame after another, over and over.
fn animation(frames: &[String], seconds: f64) -> String {
    let (width, height) = (2 * MARGIN + WIDTH * usize::from(COLUMNS), 2 * MARGIN + HEIGHT * usize::from(ROWS));
    let each = seconds / frames.len() as f64;
    let shown = 100.0 / frames.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <style>\n\
         text{{font:15px ui-monospace,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;white-space:pre;fill:#d8d8d8}}\n\
         .b{{font-weight:bold}}.d{{opacity:.6}}.u{{fill:#79b8ff}}.y{{fill:#ffd75f}}.k{{fill:#1b1d23}}\n\
         g{{visibility:hidden;animation:f {seconds:.2}s step-end infinite}}\n\
         @keyframes f{{0%{{visibility:visible}}{shown:.3}%{{visibility:hidden}}}}\n\
         </style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#1b1d23\"/>\n"
    );
    if let [frame] = frames {
        svg.push_str(&frame.replacen("<g>", "<g style=\"visibility:visible;animation:none\">", 1));
    } else {
        for (number, frame) in frames.iter().enumerate() {
            let delay = format!("<g style=\"animation-delay:{:.2}s\">", each * number as f64);
            svg.push_str(&frame.replacen("<g>", &delay, 1));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// A screen as a group of texts: one for each run of cells of the same style.
fn picture(buffer: &Buffer) -> String {
    let mut group = String::from("<g>\n");
    for (row, cells) in buffer.content().chunks(usize::from(buffer.area.width)).enumerate() {
        let mut column = 0;
        for run in cells.chunk_by(|a, b| style(a) == style(b)) {
            draw_run(&mut group, run, row, column);
            column += run.len();
        }
    }
    group.push_str("</g>\n");
    group
}

fn style(cell: &Cell) -> (Color, Modifier) {
    (cell.fg, cell.modifier)
}

fn draw_run(group: &mut String, run: &[Cell], row: usize, column: usize) {
    let (colour, modifier) = style(&run[0]);
    let is_reversed = modifier.contains(Modifier::REVERSED);
    let text: String = run.iter().map(Cell::symbol).collect();
    let (x, y) = (MARGIN + column * WIDTH, MARGIN + row * HEIGHT);
    if is_reversed {
        let fill = if colour == Color::Yellow { "y" } else { "u" };
        let width = run.len() * WIDTH;
        let _ = writeln!(group, "<rect class=\"{fill}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\"/>");
    }
    let shown = text.trim_end();
    if shown.is_empty() {
        return;
    }
    let mut class = match colour {
        _ if is_reversed => "k",
        Color::LightBlue => "u",
        Color::Yellow => "y",
        _ => "",
    }
    .to_owned();
    for (has, name) in [(Modifier::BOLD, " b"), (Modifier::DIM, " d")] {
        if modifier.contains(has) {
            class.push_str(name);
        }
    }
    // In any font its characters stand in their columns.
    let length = shown.chars().count() * WIDTH;
    let baseline = y + HEIGHT * 3 / 4;
    let class = if class.is_empty() { class } else { format!(" class=\"{}\"", class.trim_start()) };
    let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        group,
        "<text{class} x=\"{x}\" y=\"{baseline}\" textLength=\"{length}\" xml:space=\"preserve\">{escaped}</text>"
    );
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::testing;

    struct Few(VecDeque<Snapshot>);

    impl Looks for Few {
        fn next(&mut self) -> Result<Option<Snapshot>, LookError> {
            Ok(self.0.pop_front())
        }

        fn pause(&mut self) -> Duration {
            Duration::ZERO
        }

        fn end(&self) -> &'static str {
            "there are no more"
        }
    }

    fn drawn(n_looks: u64) -> String {
        let looks = (0..n_looks).map(|n| Snapshot { at_ms: n * 1000, ..testing::snapshot() });
        let mut out = Vec::new();
        draw(&mut Few(looks.collect()), false, Duration::from_secs(9), true, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_screen_has_its_frames() {
        let svg = drawn(12);
        assert_eq!(svg.matches("<g style").count(), 10, "those of nine seconds");
        for word in ["PID NAME", "pool Pool of 1", "QUEUE  ", "HELD BY", "WAITS"] {
            assert_eq!(svg.matches(word).count(), 2, "{word}: {svg}");
        }
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
        assert!(svg.contains("animation:f 9.00s") && svg.contains("animation-delay:8.10s"), "{svg}");
    }

    #[test]
    fn what_is_markup_is_escaped() {
        let mut looks = Few([Snapshot { command: "</svg><script>&".into(), ..testing::snapshot() }].into());
        let mut out = Vec::new();
        draw(&mut looks, false, Duration::ZERO, true, &mut out).unwrap();
        let svg = String::from_utf8(out).unwrap();
        assert!(svg.contains("&lt;/svg&gt;&lt;script&gt;&amp;") && svg.matches("</svg>").count() == 1, "{svg}");
        assert!(svg.contains("animation:none"));
    }

    #[test]
    fn nothing_seen_is_an_error() {
        let drawn = draw(&mut Few([].into()), false, Duration::ZERO, true, &mut Vec::new());
        assert_eq!(drawn.unwrap_err().to_string(), "there are no more");
    }
}
