//! Each of the suite's types.

use test_types::{Must, Traveller, Visit};
use wire::{Counter, Flat, Sink, Stop, TypeInfo, decode, encode, encode_compact, encode_named};

#[derive(Default)]
struct Suite {
    wrong: Vec<String>,
    n_types: usize,
    n_compact: usize,
}

impl Visit for Suite {
    fn visit<T: Traveller>(&mut self, name: &'static str, must: Must, values: Vec<T>) {
        self.n_types += 1;
        let info = TypeInfo::of::<T>();
        self.n_compact += usize::from(info.form() == wire::Form::Compact);
        assert!(!values.is_empty(), "{name}");
        let mut cell = String::new();
        for value in &values {
            let mut bytes = vec![66];
            let sent = encode(info, value, &mut bytes);
            cell = match (must, &sent) {
                (_, Ok(())) if bytes[0] != 66 => "what was there is gone".into(),
                (_, Ok(())) => match decode::<T>(&bytes[1..]) {
                    Ok(there) if there == *value => "equal".into(),
                    Ok(there) => format!("{value:?} arrived as {there:?}"),
                    Err(e) => format!("error: {value:?} does not decode: {e}"),
                },
                (_, Err(e)) => format!("refused: {e}"),
            };
            let is_right = match must {
                Must::Arrive => cell == "equal",
                Must::BeAnError => cell != "equal" && !cell.contains("arrived"),
                Must::BeRefused => sent.is_err() && bytes == [66],
            };
            if !is_right {
                self.wrong.push(format!("{name}: {cell}"));
            }
        }
        println!(
            "{name:50} {:8} {}{cell}",
            format!("{:?}", info.form()),
            if info.may_hold_handles() { "~ " } else { "" }
        );
    }
}

#[test]
fn each_value_arrives_equal_or_is_refused() {
    let mut suite = Suite::default();
    test_types::all(&mut suite);
    println!("{} types, {} of them compact", suite.n_types, suite.n_compact);
    assert_eq!(suite.wrong, [""; 0], "\n{}", suite.wrong.join("\n"));
}

/// What is written straight into a sink is what goes into a vector, and its length is known beforehand.
#[test]
fn sinks_get_the_same_bytes() {
    struct Same(usize);
    impl Visit for Same {
        fn visit<T: Traveller>(&mut self, name: &'static str, _must: Must, values: Vec<T>) {
            let info = TypeInfo::of::<T>();
            for value in values {
                let mut bytes = Vec::new();
                if encode(info, &value, &mut bytes).is_err() {
                    continue;
                }
                let (mut counter, mut direct) = (Counter::default(), Vec::new());
                match encode_compact(info, &value, &mut direct) {
                    Ok(()) => {
                        encode_compact(info, &value, &mut counter).unwrap();
                        assert_eq!(counter.position(), direct.len(), "{name}");
                        // A set has another order when it is made again, but not when it is written again.
                        assert_eq!(bytes, direct, "{name}");
                        self.0 += 1;
                    }
                    Err(Stop::Indirect) => {}
                    Err(e) => panic!("{name}: {e:?}"),
                }
            }
        }
    }
    let mut same = Same(0);
    test_types::all(&mut same);
    println!("{} values went straight", same.0);
    assert!(same.0 > 100);
}

/// For a reader of whom the writer knows nothing.
#[test]
fn the_named_form_carries_most_types() {
    struct Named(Vec<&'static str>);
    impl Visit for Named {
        fn visit<T: Traveller>(&mut self, name: &'static str, must: Must, values: Vec<T>) {
            for value in values {
                let mut bytes = Vec::new();
                let is_there =
                    encode_named(&value, &mut bytes).is_ok() && decode::<T>(&bytes).is_ok_and(|v| v == value);
                if !is_there && must == Must::Arrive {
                    self.0.push(name);
                }
            }
        }
    }
    let mut named = Named(Vec::new());
    test_types::all(&mut named);
    // Names that only one side has are in no named form.
    assert_eq!(named.0, ["rename(serialize, deserialize)", "rename(serialize, deserialize) of a variant"]);
}

/// Values in rows, where their type has a shape: equal, or not written so.
#[test]
fn rows_bring_back_what_was_put_into_them() {
    struct Rows(usize);
    impl Visit for Rows {
        fn visit<T: Traveller>(&mut self, name: &'static str, must: Must, values: Vec<T>) {
            let Some(flat) = Flat::<T>::of() else { return };
            // More than the few that are read at a time.
            let values: Vec<T> = values.iter().cycle().take(7 * values.len()).cloned().collect();
            let (mut bytes, mut there) = (Vec::new(), Vec::new());
            if flat.encode(&values, &mut bytes) {
                match flat.take(values.len(), &mut &bytes[..], &mut there) {
                    Ok(()) => assert_eq!(there, values, "{name}"),
                    // What its own `Deserialize` refuses.
                    Err(e) => assert_ne!(must, Must::Arrive, "{name}: {e}"),
                }
                self.0 += 1;
            }
        }
    }
    let mut rows = Rows(0);
    test_types::all(&mut rows);
    println!("{} types have a shape", rows.0);
    assert!(rows.0 > 10);
}
