use ratatui::{Terminal, backend::TestBackend, style::Color};

use super::*;
use crate::{
    graph,
    model::{Finding, HolderRow},
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
fn a_thread_is_named_by_pid_id_and_name() {
    let mut app = app();
    let lock = &mut app.shown.as_mut().unwrap().locks[0];
    lock.holders[0] = HolderRow { tid: 4712, name: "server/Thread-1".into(), ..lock.holders[0].clone() };
    app.go(Screen::Locks);
    let screen = drawn(&app).join("\n");
    assert!(screen.contains("held by server/Thread-1 (3:4712)"), "{screen}");
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
        assert!(drawn[3].contains("stopped"), "all of it: {drawn:#?}");
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
    for (width, height) in [(1, 1), (20, 5), (80, 3), (3, 30), (1000, 2)] {
        for shows_help in [true, false] {
            for screen in Screen::ALL {
                app.shows_help = shows_help;
                app.go(screen);
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                terminal.draw(|frame| draw(frame, &app)).unwrap();
            }
        }
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

#[test]
fn a_small_screen_shows_rows_beside_many_findings() {
    let mut app = app();
    let snapshot = app.shown.as_mut().unwrap();
    let finding = |n: u32| Finding { kind: FindingKind::Stuck, text: format!("nobody can end {n}"), pids: vec![n] };
    snapshot.findings = (0..100).map(finding).collect();
    let screen = drawn(&app);
    assert!(screen[2].starts_with("!!nobody can end 0") && screen[6].starts_with("!!nobody can end 4"), "{screen:#?}");
    assert!(screen[7].starts_with("!!95 more lines of what is wrong"), "{screen:#?}");
    assert!(screen[8].contains("PID NAME"), "{screen:#?}");
    let mut terminal = Terminal::new(TestBackend::new(20, 5)).unwrap();
    terminal.draw(|frame| draw(frame, &app)).unwrap();
    let cells = terminal.backend().buffer().content();
    let lines: Vec<String> = cells.chunks(20).map(|line| line.iter().map(|cell| cell.symbol()).collect()).collect();
    assert!(lines[2].starts_with("!!100 more lines") && lines[3].contains("PID NAME"), "{lines:#?}");
}

#[test]
fn what_a_name_says_stays_in_its_cells() {
    let mut app = app();
    app.shown.as_mut().unwrap().command = "a\u{1b}[2Jb\u{9b}7mc\u{202e}d\r\ne".into();
    app.shown.as_mut().unwrap().processes[1].name = "界界界界界界界界界界界界".into();
    let screen = drawn(&app);
    assert!(!screen.concat().contains(char::is_control), "{screen:#?}");
    assert_eq!(screen.len(), 24);
}

#[test]
fn times_that_may_be_longer_have_a_mark() {
    assert!(on(Screen::Queues).contains("FULL put p2 >1ms"));
    assert!(on(Screen::Pools).contains(" 4.2s  program::work"), "seen from its begin");
}
