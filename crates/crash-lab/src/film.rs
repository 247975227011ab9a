//! One victim, and what it would leave behind if it died after each of its instructions.

use std::{collections::HashMap, rc::Rc};

use test_support::{
    robust::RobustList,
    step::{Stop, Victim},
};

use crate::{
    experiment::{Experiment, Scene},
    mode::text,
    operation::Verdict,
    world::{Image, Mapping},
};

/// A victim taken through its window, with what it would leave behind if it died after each instruction.
pub(crate) struct Film {
    pub(crate) images: Vec<Rc<Image>>,
    /// For each number of instructions, its image. None if the window is too long for a quick look.
    pub(crate) frames: Vec<usize>,
}

impl Film {
    /// Shoots the scene to its end; nothing, if that is more than `longest` instructions away.
    pub(crate) fn shoot(mut scene: Scene, longest: u64) -> Result<Self, String> {
        let mut film = Self { images: Vec::new(), frames: Vec::new() };
        let mut known = HashMap::new();
        let mut live = Image::default();
        let mut marked: Vec<u64> = Vec::new();
        let mut mappings: Vec<Mapping> = Vec::new();
        let stage = &scene.experiment().stage;
        let tid = scene.victim.pid();
        let robust = RobustList::of(tid);
        loop {
            let changed = stage.capture(&mut live).map_err(text)?;
            let owned = robust.as_ref().map_or_else(Vec::new, RobustList::words);
            if changed || owned != marked || film.frames.is_empty() {
                let mut image = live.clone();
                for word in &owned {
                    if !image.owner_died(&mappings, *word, tid) {
                        mappings = stage.mappings(tid).map_err(text)?;
                        image.owner_died(&mappings, *word, tid);
                    }
                }
                let image = Rc::new(image);
                let id = *known.entry(Rc::clone(&image)).or_insert(film.images.len());
                if id == film.images.len() {
                    film.images.push(image);
                }
                film.frames.push(id);
                marked = owned;
            } else {
                film.frames.push(film.frames[film.frames.len() - 1]);
            }
            if scene.go(Victim::step)? != Stop::Stopped {
                break;
            }
            scene.let_others_settle();
            if film.frames.len() as u64 > longest {
                return Ok(Self { images: Vec::new(), frames: Vec::new() });
            }
        }
        // Dead, and reaped, before anybody judges: who looks for it must not find it.
        scene.victim.kill();
        Ok(film)
    }

    /// Judges each image once.
    pub(crate) fn judge(&self, experiment: &Experiment) -> Result<Vec<Verdict>, String> {
        let judge = |image: &Rc<Image>| {
            experiment.stage.load(image).map_err(text)?;
            Ok(experiment.judge(Vec::new()))
        };
        self.images.iter().map(judge).collect()
    }
}
