//! One victim, and what everybody would leave behind if they died after each of its instructions.

use std::{collections::HashMap, rc::Rc};

use test_support::{
    robust::RobustList,
    step::{Stop, Victim},
};

use crate::{
    cast::{SHORT, lose_patience},
    experiment::{Effort, Experiment, Scene},
    mode::{MAX_DESCRIBED, text},
    operation::Verdict,
    world::{Image, Instance, Mapping},
};

/// A victim taken through its window, with what it would leave behind if it died after each instruction, and with it
/// whoever sleeps beside it: in a copy of the memory nobody moves on.
pub(crate) struct Film {
    pub(crate) images: Vec<Rc<Image>>,
    /// For each number of instructions, its image. Empty if the window is too long for a quick look, which also leaves out
    /// most turns of an instruction that is repeated.
    pub(crate) frames: Vec<Option<usize>>,
}

/// A quick look at an instruction that copies byte by byte sees its first two turns, and one of so many.
const TURNS: u64 = 32;

impl Film {
    /// Shoots the scene to its end; nothing, if that is more than `longest` instructions away.
    pub(crate) fn shoot(mut scene: Scene, longest: u64) -> Result<Self, String> {
        let mut film = Self { images: Vec::new(), frames: Vec::new() };
        let mut known = HashMap::new();
        let mut live = Image::default();
        let stage = &scene.experiment().stage;
        let mut dying = vec![Dying::new(scene.victim.pid())];
        let looks_at_all = scene.experiment().effort == Effort::Full;
        // The instruction of the last frame that was not as the one before, and how often it had been repeated.
        let (mut last, mut n_turns) = ((0, None), 0);
        loop {
            let mut changed = stage.capture(&mut live).map_err(text)?;
            dying.extend(scene.others.iter().skip(dying.len() - 1).map(|other| Dying::new(other.pid())));
            loop {
                for dying in &mut dying {
                    changed |= dying.look();
                }
                // Whoever is at work beside the victim may have moved while the picture was taken.
                if dying.len() == 1 || !stage.capture(&mut live).map_err(text)? {
                    break;
                }
                changed = true;
            }
            match film.frames.last() {
                Some(&Some(id)) if !changed => film.frames.push(Some(id)),
                _ => {
                    let at = film.frames.len();
                    let before = std::mem::replace(&mut last, (at, scene.victim.instruction()));
                    n_turns = if last == (before.0 + 1, before.1) { n_turns + 1 } else { 0 };
                    let leave_out = n_turns > 1 && n_turns % TURNS != 0 && !looks_at_all;
                    let id = if leave_out {
                        None
                    } else {
                        let mut image = live.clone();
                        for dying in &mut dying {
                            dying.mark(&mut image, stage);
                        }
                        let image = Rc::new(image);
                        let id = *known.entry(Rc::clone(&image)).or_insert(film.images.len());
                        if id == film.images.len() {
                            film.images.push(image);
                        }
                        Some(id)
                    };
                    film.frames.push(id);
                }
            }
            if scene.go(Victim::step)? != Stop::Stopped {
                break;
            }
            if film.frames.len() as u64 > longest {
                return Ok(Self { images: Vec::new(), frames: Vec::new() });
            }
        }
        // Dead, and reaped, before anybody judges: who looks for them must not find them.
        scene.victim.kill();
        Ok(film)
    }

    /// The frames that were looked at: after how many instructions, and which image.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (usize, usize)> {
        self.frames.iter().enumerate().filter_map(|(k, id)| Some((k, (*id)?)))
    }

    /// Judges each image once.
    pub(crate) fn judge(&self, experiment: &Experiment) -> Result<Vec<Verdict>, String> {
        let mut n_bad = 0;
        let judge = |image: &Rc<Image>| {
            experiment.load(image).map_err(text)?;
            let verdict = experiment.judge(Vec::new());
            n_bad += u64::from(verdict.is_err());
            if n_bad >= MAX_DESCRIBED as u64 {
                lose_patience(SHORT);
            }
            Ok(verdict)
        };
        self.images.iter().map(judge).collect()
    }
}

/// One of those who die in the picture: what the kernel would mark then.
struct Dying {
    tid: i32,
    robust: Option<RobustList>,
    words: Vec<u64>,
    mappings: Vec<Mapping>,
}

impl Dying {
    fn new(tid: i32) -> Self {
        Self { tid, robust: RobustList::of(tid), words: Vec::new(), mappings: Vec::new() }
    }

    /// Reads which words are its own now; whether others than before.
    fn look(&mut self) -> bool {
        let words = self.robust.as_ref().map_or_else(Vec::new, RobustList::words);
        let changed = words != self.words;
        self.words = words;
        changed
    }

    fn mark(&mut self, image: &mut Image, stage: &Instance) {
        for word in &self.words {
            if !image.owner_died(&self.mappings, *word, self.tid) {
                // None if it has ended meanwhile: then the kernel has marked what was its own.
                self.mappings = stage.mappings(self.tid).unwrap_or_default();
                image.owner_died(&self.mappings, *word, self.tid);
            }
        }
    }
}
