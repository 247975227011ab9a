use super::*;

#[test]
fn a_handle_elsewhere_is_an_error_that_says_so() {
    let fd = Fd::from(std::fs::File::open("/dev/null").unwrap());
    assert!(wire::encode(TypeInfo::of::<Fd>(), &fd, &mut Vec::new()).is_err());
    let bytes = pack(&fd).unwrap().into_bytes();
    let error = wire::decode::<Fd>(&bytes).unwrap_err().to_string();
    assert_eq!(error, "handles can be deserialised only while being handed over");
    let error = unpack::<Fd>(&bytes, Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "descriptor 0 did not come along");
}

fn three() -> Option<u8> {
    Some(3)
}

#[derive(Serialize, Deserialize)]
struct Job {
    first: Fd,
    #[serde(default = "three", skip_serializing_if = "Option::is_none")]
    retries: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    second: Option<Fd>,
}

#[test]
fn a_value_with_handles_arrives_as_it_was_or_is_refused() {
    let fd = || Fd::from(std::fs::File::open("/dev/null").unwrap());
    let job = |retries, name, second| Job { first: fd(), retries, name, second };
    let some = || Some("a".to_owned());
    // Those by position, those with names, what is there for the first time: read back or not.
    for (name, second) in [(some(), None), (some(), Some(fd())), (None, Some(fd())), (None, None), (some(), None)] {
        let n_fds = 1 + usize::from(second.is_some());
        let job = job(Some(1), name.clone(), second);
        let packed = pack_owned(&job).unwrap();
        assert_eq!(packed.fds.len(), n_fds, "each once, however often the value is written");
        let there: Job = packed.unpack().unwrap();
        assert_eq!((there.retries, there.name, there.second.is_some()), (Some(1), name, n_fds == 2));
        let error = pack_owned(&Job { retries: None, ..job }).unwrap_err().to_string();
        assert!(error.contains("comes back as another value"), "{error}");
    }
}

#[derive(Serialize, Deserialize)]
struct Nested(Option<Box<Nested>>);

/// The bytes of a value of so many levels; making the value itself could take more stack than there is.
fn nested(depth: usize) -> Vec<u8> {
    // The tags of an option that has something, and of one that has nothing.
    let mut bytes = vec![2; depth];
    bytes.push(1);
    bytes
}

#[test]
fn what_is_nested_too_deeply_for_the_stack_is_an_error() {
    for stack_bytes in [64 * 1024, 2 << 20] {
        let run = move || {
            assert!(unpack::<Nested>(&nested(20), Vec::new()).is_ok());
            let errors = [1_000_000, 10_000_000].map(|depth| unpack::<Nested>(&nested(depth), Vec::new()).err());
            errors.map(|error| error.expect("too deep").to_string())
        };
        let errors = std::thread::Builder::new().stack_size(stack_bytes).spawn(run).unwrap().join().unwrap();
        assert!(errors.iter().all(|error| error.contains("nested too deeply")), "{errors:?}");
    }
}

#[test]
fn bytes_left_over_are_an_error() {
    assert!(unpack::<u8>(&[1, 2], Vec::new()).is_err());
}
