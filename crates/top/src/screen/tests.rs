use ratatui::{Terminal, backend::TestBackend, style::Color};

use super::*;
use crate::{
    graph,
    testing::{self, process},
};

fn app() -> App {
    let mut app = App::new(true);
    let mut snapshot = testing::snapshot();
    snapshot.findings = graph::findings(&snapshot);
    app.look(snapshot);
    app
}

fn drawn(app: &App) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    let buffer = terminal.backend().buffer();
    buffer.content().chunks(80).map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>()).collect()
}

fn on(screen: Screen) -> String {
    let mut app = app();
    app.go(screen);
    drawn(&app).join("\n")
}

#[test]
fn processes_show_their_tree_and_who_is_stopped() {
    let screen = on(Screen::Processes);
    assert!(screen.contains("      1 p1                  owner       sleeps      50"), "{screen}");
    assert!(screen.contains("      3   p3                process     STOPPED"), "{screen}");
}

#[test]
fn pools_show_what_each_worker_runs() {
    let screen = on(Screen::Pools);
    assert!(screen.contains("pool Pool of 1: 2 workers, 1 busy, 12.5/s"), "{screen}");
    assert!(screen.contains("queued 34 (4 given), done 500, failed 1, retried 2, restarts 3, deaths 3"), "{screen}");
    assert!(screen.contains("     77 died: killed by signal 9"), "{screen}");
    assert!(screen.contains("4.2s  program::work") && screen.contains("idle"), "{screen}");
}

#[test]
fn queues_show_who_is_blocked_and_what_is_garbled() {
    let screen = on(Screen::Queues);
    assert!(screen.contains("FULL put p2"), "{screen}");
    assert!(screen.contains("leased: 2 by 3; to be taken again: 0; dead letters: 1"), "{screen}");
    assert!(screen.contains("1 -> 2") && screen.contains("GARBLED: a queue"), "{screen}");
}

#[test]
fn locks_show_their_holder() {
    let screen = on(Screen::Locks);
    assert!(screen.contains("Lock       p3 (3)"), "{screen}");
    assert!(screen.contains("900ms") && screen.contains("HOLDER DIED"), "{screen}");
}

#[test]
fn findings_stand_above_every_screen() {
    let mut app = app();
    let snapshot = app.shown.as_mut().unwrap();
    snapshot.processes = vec![process(2, 'S'), process(3, 'T')];
    snapshot.findings = graph::findings(snapshot);
    for screen in Screen::ALL {
        app.go(screen);
        let drawn = drawn(&app);
        assert!(drawn[2].starts_with("! held up: p2 (2) waits for room in queue:9"), "{drawn:#?}");
    }
    let words = drawn(&app).join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("any of: ? (1), p3 (3) STOPPED"));
}

#[test]
fn help_fits_on_the_smallest_screen() {
    let mut app = app();
    app.shows_help = true;
    let drawn = drawn(&app).join("\n");
    assert!(drawn.contains("another order of the rows") && drawn.contains("seen from outside."), "{drawn}");
    // Nor does a smaller one end in a panic.
    for (width, height) in [(1, 1), (20, 5), (80, 3)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &app)).unwrap();
    }
}

#[test]
fn a_filter_leaves_headings_and_what_matches() {
    let mut app = app();
    app.filter = "p3".into();
    let drawn = drawn(&app).join("\n");
    assert!(drawn.contains("PID NAME") && drawn.contains("  p3 ") && !drawn.contains("  p2 "), "{drawn}");
    assert!(drawn.contains("filter \"p3\""));
}

#[test]
fn without_colours_there_are_none() {
    let mut app = app();
    let colours = |app: &App| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        terminal.backend().buffer().content().iter().filter(|cell| cell.fg != Color::Reset).count()
    };
    assert!(colours(&app) > 0);
    app.has_colours = false;
    assert_eq!(colours(&app), 0);
}
