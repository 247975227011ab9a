//! What things are called on the server.

use std::{fmt::Write as _, fs::File, hash::Hasher as _, io::Read as _, sync::OnceLock};

use pool::PoolError;
use proc_core::function;

/// The name of a pool that was given none.
pub(crate) const DEFAULT_POOL: &str = "default";

/// The names of one pool, for one build of the program.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pool: String,
    build: &'static str,
}

impl Names {
    /// # Errors
    /// If `pool` is not made of letters, digits, `_` and `-`.
    pub(crate) fn new(pool: &str) -> Result<Self, PoolError> {
        if !is_word(pool) {
            let why = format!("{pool:?} is no name of a pool: up to 64 letters, digits, `_` and `-`");
            return Err(PoolError::Cluster(why));
        }
        Ok(Self { pool: pool.to_owned(), build: build()? })
    }

    pub(crate) fn build(&self) -> &'static str {
        self.build
    }

    pub(crate) fn stream(&self) -> String {
        format!("MP_{}", self.pool)
    }

    /// All tasks of the pool, of whatever build.
    pub(crate) fn all_tasks(&self) -> String {
        format!("mp.{}.t.>", self.pool)
    }

    /// The tasks of this build.
    pub(crate) fn tasks(&self) -> String {
        format!("mp.{}.t.{}.>", self.pool, self.build)
    }

    /// Those of them that one coordinator has given.
    pub(crate) fn tasks_of(&self, coordinator: &str) -> String {
        format!("mp.{}.t.{}.{coordinator}", self.pool, self.build)
    }

    /// The consumer by which agents of this build take tasks.
    pub(crate) fn consumer(&self) -> String {
        format!("b{}", self.build)
    }

    /// Where agents send verdicts to.
    pub(crate) fn results(&self, coordinator: &str) -> String {
        format!("mp.{}.r.{coordinator}", self.pool)
    }

    /// Where a coordinator is asked for the whole of a task.
    pub(crate) fn whole(&self, coordinator: &str, task: &str) -> String {
        format!("mp.{}.w.{coordinator}.{task}", self.pool)
    }

    /// Where agents tell that they live.
    pub(crate) fn beats(&self) -> String {
        format!("mp.{}.hb.{}", self.pool, self.build)
    }

    /// Where all agents of the pool tell that, of whatever build.
    pub(crate) fn all_beats(&self) -> String {
        format!("mp.{}.hb.*", self.pool)
    }

    /// Where coordinators take tasks back.
    pub(crate) fn control(&self) -> String {
        format!("mp.{}.ctl", self.pool)
    }
}

/// Whether it can be one word of a subject, and no other subject be meant by it.
pub(crate) fn is_word(name: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.len() <= 64 && name.chars().all(is_fit)
}

/// Tells this build of the program from every other: by what the linker wrote into it, or by all that it consists of.
fn build() -> Result<&'static str, PoolError> {
    static BUILD: OnceLock<Result<String, String>> = OnceLock::new();
    let build = BUILD.get_or_init(|| match function::build_id() {
        Some(id) => Ok(hex(id)),
        None => hash_of_program().map_err(|e| format!("the program's own file cannot be read: {e}")),
    });
    build.as_deref().map_err(|why| PoolError::Cluster(why.clone()))
}

fn hash_of_program() -> std::io::Result<String> {
    let mut file = File::open("/proc/self/exe")?;
    let mut hasher = std::hash::DefaultHasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finish().to_be_bytes())),
            n => hasher.write(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_reach_other_subjects() {
        for name in ["", "a.b", "a*", ">", "a b", "é", &"x".repeat(65)] {
            assert!(matches!(Names::new(name), Err(PoolError::Cluster(_))), "{name}");
        }
        assert_eq!(Names::new("words-2").unwrap().stream(), "MP_words-2");
    }
}
