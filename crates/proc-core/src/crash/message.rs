//! A report as bytes, by which it goes to another machine.

use wire::TypeInfo;

use super::{CrashReport, Told};

/// No report takes more: it has at most 128 addresses, 24 KiB of names of files, and 4 KiB of standard error.
const MAX_BYTES: usize = 64 << 10;

impl CrashReport {
    /// The report for another machine; `None` if it is too long.
    #[doc(hidden)]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        wire::encode(TypeInfo::of::<Told>(), &*self.0, &mut bytes).ok()?;
        (bytes.len() <= MAX_BYTES).then_some(bytes)
    }

    /// The report that another machine has sent; `None` for bytes that are none. Whatever they say, it is shown and nothing else:
    /// names of functions are looked up as [`Backtrace::from_another_machine`](crate::Backtrace) says.
    #[doc(hidden)]
    pub fn from_bytes(bytes: &[u8], is_same_build: bool) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let mut told: Told = wire::decode(bytes).ok()?;
        told.backtrace = told.backtrace.from_another_machine(is_same_build);
        Some(Self(Box::new(told)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Backtrace,
        crash::{CrashCause, packet::Happened},
    };

    fn report(panic: String) -> CrashReport {
        let happened = Happened { signal: 11, code: 1, pid: 7, tid: 8, address: 0x77, ..Happened::default() };
        CrashReport(Box::new(Told {
            happened,
            flags: 0,
            panic,
            backtrace: Backtrace::default(),
            is_out_of_memory: false,
            memory_limit: Some(5),
            stderr: "the end".into(),
        }))
    }

    #[test]
    fn report_arrives_as_it_was() {
        let bytes = report("panicked".into()).to_bytes().unwrap();
        let there = CrashReport::from_bytes(&bytes, true).unwrap();
        assert_eq!((there.cause(), there.signal(), there.address()), (CrashCause::Fault, 11, Some(0x77)));
        assert_eq!((there.last_panic(), there.stderr(), there.memory_limit()), (Some("panicked"), "the end", Some(5)));
        for len in 0..bytes.len() {
            assert!(CrashReport::from_bytes(&bytes[..len], true).is_none(), "{len}");
        }
    }

    #[test]
    fn garbage_and_long_reports_are_dropped() {
        for garbage in [&[][..], &[0xff; 200], &[0; 7]] {
            assert!(CrashReport::from_bytes(garbage, true).is_none());
        }
        assert!(report("x".repeat(MAX_BYTES)).to_bytes().is_none());
        let mut bytes = Vec::new();
        wire::encode(TypeInfo::of::<Told>(), &*report("x".repeat(MAX_BYTES)).0, &mut bytes).unwrap();
        assert!(CrashReport::from_bytes(&bytes, true).is_none());
    }
}
