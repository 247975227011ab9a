use super::*;
use crate::shm::Shared;

struct Handle {
    words: Shared<RegisterWords>,
    here: Membership,
}

impl Handle {
    fn new(words: &Shared<RegisterWords>) -> Self {
        Self { here: Membership::new(words.memory().as_fd()).unwrap(), words: words.clone() }
    }

    fn register(&self) -> Register<'_> {
        Register::new(self.words.memory().as_fd(), &self.words, &self.here)
    }
}

fn words() -> Shared<RegisterWords> {
    Shared::new(RegisterWords::default()).unwrap()
}

#[test]
fn a_participant_lives_until_its_handle_is_dropped() {
    let words = words();
    let (one, other) = (Handle::new(&words), Handle::new(&words));
    assert_eq!(one.register().me_if_entered(), None);
    let me = one.register().me();
    assert_eq!((me.witness(), me.pid()), (Some(Witness::Lock), std::process::id()));
    assert_eq!((one.register().me(), one.register().me_if_entered()), (me, Some(me)));
    assert_ne!(other.register().me(), me);
    for register in [one.register(), other.register()] {
        assert_eq!(register.verdict(me), Verdict::Alive);
        assert_eq!(register.namespace_of(me), PidNamespace::current());
    }
    drop(one);
    assert_eq!(other.register().verdict(me), Verdict::Dead);
    assert_eq!(other.register().verdict(other.register().me()), Verdict::Alive);
}

#[test]
fn threads_that_enter_at_once_are_one_participant() {
    let words = words();
    for _ in 0..100 {
        let handle = Handle::new(&words);
        let enter = || handle.register().me();
        let [a, b] = std::thread::scope(|s| [s.spawn(enter), s.spawn(enter)].map(|thread| thread.join().unwrap()));
        assert_eq!(a, b);
        assert_eq!(handle.register().verdict(a), Verdict::Alive);
    }
}

#[test]
fn through_another_file_nobody_is_dead() {
    let words = words();
    let (there, handle) = (Handle::new(&words), Handle::new(&words));
    let living = there.register().me();
    let dead = Handle::new(&words).register().me();
    assert_eq!(handle.register().verdict(dead), Verdict::Dead);
    // As if the host had closed our descriptor, and opened another memory file there.
    let other = self::words();
    let register = Register::new(other.memory().as_fd(), &words, &handle.here);
    assert_eq!([living, dead].map(|participant| register.verdict(participant)), [Verdict::Unknown; 2]);
    // Nor does any process take a lock there.
    let unlocked = register.me();
    assert_eq!(unlocked.witness(), Some(Witness::Pid));
    assert_eq!(there.register().verdict(unlocked), Verdict::Alive);
}

#[test]
fn a_lock_is_seen_through_the_very_opening_that_has_it() {
    let words = words();
    let handle = Handle::new(&words);
    let me = handle.register().me();
    let number = me.number() + 77;
    let file = words.memory().as_fd();
    assert!(!ofd_lock::is_locked(file, byte_of(number)).unwrap());
    assert!(ofd_lock::try_share(file, byte_of(number)).unwrap());
    assert!(ofd_lock::is_locked(file, byte_of(number)).unwrap());
}

#[test]
fn numbers_given_out_before_are_passed_over() {
    let words = words();
    let handles: Vec<_> = (0..3).map(|_| Handle::new(&words)).collect();
    let first: Vec<_> = handles.iter().map(|handle| handle.register().me()).collect();
    words.entered.store(0, Relaxed);
    let late = Handle::new(&words);
    assert!(!first.contains(&late.register().me()));
    assert_eq!(late.register().me().witness(), Some(Witness::Lock));
}

#[test]
fn words_that_nobody_wrote_are_of_the_dead() {
    let words = words();
    let handle = Handle::new(&words);
    let living = handle.register().me();
    let made_up = Participant::new(Witness::Lock, 1, living.pid(), living.number() + 1);
    assert_eq!(handle.register().verdict(made_up), Verdict::Dead);
    for word in [4, u64::MAX, u64::MAX - 1, 1 << 63 | 2] {
        assert_eq!(handle.register().verdict(Participant::from_word(word).unwrap()), Verdict::Dead, "{word:x}");
    }
}

#[test]
fn a_pid_of_another_namespace_is_nobody_s() {
    let words = words();
    let handle = Handle::new(&words);
    let here = words.place_of(PidNamespace::current());
    words.entered.store(9, Relaxed);
    let elsewhere = words.place_of(PidNamespace::from_inode(7));
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let verdicts = |pid| {
        [here, elsewhere, 0].map(|place| handle.register().verdict(Participant::new(Witness::Pid, place, pid, 9)))
    };
    pidfd::wait_exit(pidfd::open(child.id()).unwrap().as_fd(), None).unwrap();
    let zombie = verdicts(child.id());
    child.wait().unwrap();
    let unknown = [Verdict::Unknown; 2];
    for (verdicts, expected) in
        [(verdicts(std::process::id()), Verdict::Alive), (zombie, Verdict::Dead), (verdicts(child.id()), Verdict::Dead)]
    {
        assert_eq!((verdicts[0], &verdicts[1..]), (expected, &unknown[..]));
    }
}

#[test]
fn more_namespaces_than_places_are_unknown() {
    let words = RegisterWords::default();
    let places: Vec<_> = (1..20).map(|inode| words.place_of(PidNamespace::from_inode(inode))).collect();
    assert_eq!(places[..14], (1..15).collect::<Vec<_>>());
    assert!(places[14..].iter().all(|place| *place == 0));
    assert_eq!(words.place_of(PidNamespace::from_inode(3)), 3);
    assert_eq!(words.place_of(None), 0);
}
