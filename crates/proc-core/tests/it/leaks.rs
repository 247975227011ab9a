//! What a long life of starting processes leaves behind: nothing.

use proc_core::{Process, ProcessError};

use crate::{watchdog, zombies};

fn census() -> (usize, usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (std::fs::read_dir("/proc/self/fd").unwrap().count(), zombies(), maps.lines().count())
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_cycles() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn cycle(n: usize) {
        for i in 0..n {
            assert_eq!(Process::spawn(|i: usize| i + 1, (i,)).unwrap().join().unwrap(), i + 1);
        }
    }
    fn measure() -> ((usize, usize, usize), (usize, usize, usize), usize) {
        cycle(500);
        let (before, resident) = (census(), resident_kib());
        cycle(10_000);
        (before, census(), resident_kib().saturating_sub(resident))
    }
    let (before, after, grown_kib) = Process::spawn(measure, ())?.join()?;
    assert_eq!(before, after);
    assert!(grown_kib < 1024, "{grown_kib} KiB");
    Ok(())
}
