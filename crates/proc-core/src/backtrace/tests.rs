use super::*;

#[inline(never)]
fn of_here() -> Backtrace {
    std::hint::black_box(Backtrace::of_addresses(&capture::addresses()))
}

fn after_the_journey(backtrace: &Backtrace) -> Backtrace {
    let mut bytes = Vec::new();
    wire::encode(wire::TypeInfo::of::<Backtrace>(), backtrace, &mut bytes).unwrap();
    wire::decode(&bytes).unwrap()
}

#[test]
fn names_file_and_line_after_the_journey() {
    let there = after_the_journey(&of_here());
    let frame = there.frames().iter().find(|frame| frame.function().is_some_and(|f| f.ends_with("::of_here"))).unwrap();
    assert!(frame.file().unwrap().ends_with("backtrace/tests.rs"), "{frame:?}");
    assert!((4..=7).contains(&frame.line().unwrap()), "{frame:?}");
    assert!(there.contains("of_here") && there.contains("tests.rs:"), "{there}");
}

#[test]
fn frames_in_libraries_are_named() {
    // `qsort` is the C library's; what it calls back sees it on the stack.
    extern "C" fn compare(_: *const libc::c_void, found: *const libc::c_void) -> i32 {
        let found = found.cast::<std::cell::Cell<Option<Backtrace>>>();
        #[allow(unsafe_code)]
        // SAFETY: `bsearch` hands in the address of its only element.
        let found = unsafe { &*found };
        found.set(Some(of_here()));
        0
    }
    let found = std::cell::Cell::new(None::<Backtrace>);
    #[allow(unsafe_code)]
    // SAFETY: one element of that size.
    unsafe {
        libc::bsearch((&raw const found).cast(), (&raw const found).cast(), 1, size_of_val(&found), Some(compare))
    };
    let backtrace = found.take().unwrap();
    assert!(backtrace.frames().iter().any(|frame| frame.module().is_some()), "{backtrace}");
}

#[test]
fn places_that_no_file_has_are_harmless() {
    let raw = Places {
        libraries: vec!["/no/such/library.so".into(), "/dev/zero".into()],
        places: vec![
            Place { file: 0, offset: u64::MAX },
            Place { file: 0, offset: 1 << 61 },
            Place { file: 1, offset: 7 },
            Place { file: 2, offset: 7 },
            Place { file: 9, offset: 7 },
        ],
    };
    let text = Backtrace::of_places(raw).to_string();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("/no/such/library.so+0x7"), "{text}");
}

#[test]
fn backtrace_of_another_machine_opens_no_file_of_this_one_but_its_own() {
    let library = modules::loaded_files().into_iter().find(|path| path.to_string_lossy().contains("libc.so")).unwrap();
    let unloaded = std::env::temp_dir().join(format!("proc-core-unloaded-{}", std::process::id()));
    std::fs::copy(&library, &unloaded).unwrap();
    let here = of_here();
    let mut places = here.0.as_ref().unwrap().places.clone();
    let getpid = modules::locate(&[libc::getpid as *const () as usize]).places[0].offset;
    places.push(Some(&library), getpid);
    places.push(Some(&unloaded), getpid);
    let names = |backtrace: Backtrace| -> Vec<String> {
        backtrace.frames().iter().filter_map(|frame| frame.function()).map(str::to_owned).collect()
    };
    let is_named = |names: &[String], end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    let local = names(Backtrace::of_places(places.clone()));
    assert_eq!((is_named(&local, "::of_here"), is_named(&local, "getpid")), (1, 2), "{local:?}");
    let same = Backtrace::of_places(places.clone()).from_another_machine(true);
    let same = names(same);
    assert_eq!((is_named(&same, "::of_here"), is_named(&same, "getpid")), (1, 1), "{same:?}");
    let other = Backtrace::of_places(places).from_another_machine(false);
    let text = other.to_string();
    let other = names(other);
    assert_eq!((is_named(&other, "::of_here"), is_named(&other, "getpid")), (0, 1), "{other:?}");
    assert!(text.contains("<program>+0x"), "{text}");
    std::fs::remove_file(unloaded).unwrap();
}

#[test]
fn none_is_the_empty_text() {
    let none = after_the_journey(&Backtrace::default());
    assert!(none.is_empty() && none.frames().is_empty());
    assert_eq!(none, Backtrace::default());
}
