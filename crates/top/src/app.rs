//! What the keys do, and what the screens show of it: the state between two looks.

use std::collections::HashMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{chart::Chart, model::Snapshot};

/// The screens there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Screen {
    Processes,
    Pools,
    Queues,
    Locks,
    Waits,
}

impl Screen {
    pub(crate) const ALL: [Self; 5] = [Self::Processes, Self::Pools, Self::Queues, Self::Locks, Self::Waits];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Pools => "pools",
            Self::Queues => "queues and pipes",
            Self::Locks => "locks",
            Self::Waits => "waits",
        }
    }

    /// The orders in which its rows can be shown.
    pub(crate) fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Processes => &["tree", "cpu", "memory", "age"],
            Self::Pools => &["seat", "time", "tasks"],
            Self::Queues => &["age", "depth", "rate"],
            Self::Locks => &["age", "waiters", "hand-overs"],
            Self::Waits => &["process", "time"],
        }
    }
}

/// What a key has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    GoOn,
    Quit,
}

pub(crate) struct App {
    pub(crate) screen: Screen,
    /// The look that is shown.
    pub(crate) shown: Option<Snapshot>,
    /// The last look, if another one is shown.
    waiting: Option<Snapshot>,
    pub(crate) is_frozen: bool,
    pub(crate) shows_help: bool,
    pub(crate) filter: String,
    pub(crate) is_typing: bool,
    /// Rows that are scrolled past.
    pub(crate) first_row: usize,
    orders: HashMap<Screen, usize>,
    /// For a queue's or pool's name.
    pub(crate) charts: HashMap<String, Chart>,
    pub(crate) has_colours: bool,
    /// Why there are no further looks.
    pub(crate) end: Option<String>,
}

impl App {
    pub(crate) fn new(has_colours: bool) -> Self {
        Self {
            screen: Screen::Processes,
            shown: None,
            waiting: None,
            is_frozen: false,
            shows_help: false,
            filter: String::new(),
            is_typing: false,
            first_row: 0,
            orders: HashMap::new(),
            charts: HashMap::new(),
            has_colours,
            end: None,
        }
    }

    /// Takes in a look.
    pub(crate) fn look(&mut self, snapshot: Snapshot) {
        let queues = snapshot.queues.iter().map(|queue| (format!("queue:{}", queue.id), queue.taken_per_second));
        let pools = snapshot.pools.iter();
        let pools = pools.map(|pool| (format!("pool:{}:{}", pool.owner, pool.name), pool.done_per_second));
        // Charts of what is gone go with it.
        let mut old = std::mem::take(&mut self.charts);
        for (name, rate) in queues.chain(pools) {
            let mut chart = old.remove(&name).unwrap_or_default();
            chart.push(rate.unwrap_or(0.0));
            self.charts.insert(name, chart);
        }
        if self.is_frozen { self.waiting = Some(snapshot) } else { self.shown = Some(snapshot) }
    }

    pub(crate) fn order(&self) -> &'static str {
        let orders = self.screen.orders();
        orders[self.orders.get(&self.screen).copied().unwrap_or(0) % orders.len()]
    }

    /// Whether a row is to be shown.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.filter.is_empty() || text.to_lowercase().contains(&self.filter.to_lowercase())
    }

    pub(crate) fn key(&mut self, key: KeyEvent) -> After {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return After::Quit;
        }
        if self.is_typing {
            match key.code {
                KeyCode::Enter => self.is_typing = false,
                KeyCode::Esc => (self.is_typing, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(c) => self.filter.push(c),
                _ => {}
            }
            return After::GoOn;
        }
        if self.shows_help {
            self.shows_help = false;
            return if key.code == KeyCode::Char('q') { After::Quit } else { After::GoOn };
        }
        match key.code {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Char('?' | 'h') => self.shows_help = true,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('f' | ' ') => self.freeze(),
            KeyCode::Char('s') => *self.orders.entry(self.screen).or_default() += 1,
            KeyCode::Char(c @ '1'..='5') => self.go(Screen::ALL[c as usize - '1' as usize]),
            KeyCode::Tab | KeyCode::Right => self.step(1),
            KeyCode::BackTab | KeyCode::Left => self.step(Screen::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.first_row += 1,
            KeyCode::Up | KeyCode::Char('k') => self.first_row = self.first_row.saturating_sub(1),
            KeyCode::PageDown => self.first_row += 10,
            KeyCode::PageUp => self.first_row = self.first_row.saturating_sub(10),
            KeyCode::Home => self.first_row = 0,
            KeyCode::Esc => self.filter.clear(),
            _ => {}
        }
        After::GoOn
    }

    fn freeze(&mut self) {
        self.is_frozen = !self.is_frozen;
        if let Some(last) = self.waiting.take().filter(|_| !self.is_frozen) {
            self.shown = Some(last);
        }
    }

    fn step(&mut self, by: usize) {
        let at = Screen::ALL.iter().position(|screen| *screen == self.screen).unwrap_or(0);
        self.go(Screen::ALL[(at + by) % Screen::ALL.len()]);
    }

    pub(crate) fn go(&mut self, screen: Screen) {
        (self.screen, self.first_row) = (screen, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn press(app: &mut App, keys: &str) -> After {
        let press = |c| app.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        keys.chars().map(press).last().unwrap()
    }

    #[test]
    fn keys_lead_from_screen_to_screen() {
        let mut app = App::new(false);
        press(&mut app, "3");
        assert_eq!((app.screen, app.order()), (Screen::Queues, "age"));
        press(&mut app, "s");
        assert_eq!(app.order(), "depth");
        press(&mut app, "ss");
        assert_eq!(app.order(), "age", "around");
        app.key(KeyEvent::new(KeyCode::BackTab, KeyModifiers::NONE));
        assert_eq!(app.screen, Screen::Pools);
        assert_eq!(press(&mut app, "q"), After::Quit);
        assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), After::Quit);
    }

    #[test]
    fn a_filter_is_typed_and_given_up() {
        let mut app = App::new(false);
        press(&mut app, "/q1");
        assert_eq!((app.filter.as_str(), app.is_typing), ("q1", true));
        app.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
        assert!(app.matches("a Q17") && !app.matches("p17"));
        app.key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        assert!(app.matches("p17"));
    }

    #[test]
    fn charts_go_with_what_they_are_of() {
        let mut app = App::new(false);
        app.look(testing::snapshot());
        app.look(testing::snapshot());
        assert_eq!((app.charts.len(), app.charts["queue:9"].bars(9).chars().count()), (2, 2));
        app.look(Snapshot { queues: Vec::new(), ..testing::snapshot() });
        assert_eq!(app.charts.keys().collect::<Vec<_>>(), ["pool:1:Pool"]);
    }

    #[test]
    fn what_is_frozen_stays_and_catches_up() {
        let mut app = App::new(false);
        let at = |app: &App| app.shown.as_ref().unwrap().at_ms;
        app.look(testing::snapshot());
        press(&mut app, "f");
        let later = Snapshot { at_ms: 2_000_000, ..testing::snapshot() };
        app.look(later);
        assert_eq!(at(&app), 1_000_000);
        press(&mut app, "f");
        assert_eq!(at(&app), 2_000_000);
    }
}
