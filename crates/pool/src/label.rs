//! The names of the functions that tasks call, for traces.

/// What a task calls. Takes no room without the feature `trace`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label(#[cfg(feature = "trace")] &'static str);

impl Label {
    pub(crate) fn of<F>(_f: &F) -> Self {
        Self(
            #[cfg(feature = "trace")]
            std::any::type_name::<F>(),
        )
    }

    /// Runs a task that calls it, whose slice is added if the calling thread is a row of a trace.
    #[cfg_attr(not(feature = "trace"), inline(always), expect(unused_variables, reason = "traces alone ask for it"))]
    pub(crate) fn traced<R>(self, id: u64, task: impl FnOnce() -> R) -> R {
        #[cfg(feature = "trace")]
        return crate::trace::threads::run(self.name(), id, task);
        #[cfg(not(feature = "trace"))]
        task()
    }

    /// The function's name; of a closure of this crate's that calls one, that one's.
    #[cfg(feature = "trace")]
    pub(crate) fn name(self) -> &'static str {
        let mut name = self.0;
        while name.starts_with("pool::")
            && let Some(inner) = first_parameter(name)
        {
            name = inner;
        }
        name
    }
}

/// The first of the parameters that stand in a type's name. `<impl …>` in it is where a method has been written.
#[cfg(feature = "trace")]
fn first_parameter(name: &str) -> Option<&str> {
    let (_, parameters) = name.split_once('<')?;
    let (mut depth, mut before) = (0, ' ');
    let end = parameters.find(|c| {
        depth += match c {
            '<' | '(' | '[' => 1,
            // Not that of an arrow.
            '>' if before == '-' => 0,
            '>' | ')' | ']' => -1,
            _ => 0,
        };
        before = c;
        depth < 0 || depth == 0 && c == ','
    })?;
    if parameters.starts_with("impl ") { first_parameter(&parameters[end..]) } else { Some(&parameters[..end]) }
}

#[cfg(test)]
#[cfg(feature = "trace")]
mod tests {
    use super::*;

    fn wrapping<F: Fn(u8) -> u8>(f: F) -> Label {
        Label::of(&move |n| f(n))
    }

    #[test]
    fn what_wraps_a_function_has_its_name() {
        assert_eq!(wrapping(u8::swap_bytes).name(), std::any::type_name_of_val(&u8::swap_bytes));
    }

    #[test]
    fn only_closures_of_this_crate_are_looked_into() {
        assert_eq!(Label("wordcount::count<alloc::vec::Vec<u8>>").name(), "wordcount::count<alloc::vec::Vec<u8>>");
        assert_eq!(Label("pool::thread::with<fn(u8) -> u8, u8>::{{closure}}").name(), "fn(u8) -> u8");
        let starmap = "pool::process::ProcessPool::starmap<it::add<(u8, u8)>, alloc::vec::Vec<u8>>::{{closure}}";
        assert_eq!(Label(starmap).name(), "it::add<(u8, u8)>");
        let elsewhere = "pool::maps::<impl pool::process::Pool<u8>>::starmap<it::add<(u8, u8)>, u8>::{{closure}}";
        assert_eq!(Label(elsewhere).name(), "it::add<(u8, u8)>");
        assert_eq!(Label("pool::process::nothing::{{closure}}").name(), "pool::process::nothing::{{closure}}");
    }
}
