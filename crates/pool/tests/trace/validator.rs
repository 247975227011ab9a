//! Holds traces to the Trace Event Format.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// The fields that an event may have.
const FIELDS: [&str; 14] =
    ["name", "cat", "ph", "ts", "tts", "pid", "tid", "dur", "tdur", "args", "id", "cname", "sf", "stack"];

/// The metadata events, and the argument of each.
const METADATA: [(&str, &str); 5] = [
    ("process_name", "name"),
    ("process_labels", "labels"),
    ("process_sort_index", "sort_index"),
    ("thread_name", "name"),
    ("thread_sort_index", "sort_index"),
];

/// The slices of each row, in the order of their begin. Complete and metadata events are known; a row has a name, and its
/// slices lie side by side or inside each other.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn validated(trace: &Value) -> Result<HashMap<u64, Vec<&Value>>, String> {
    let unit = trace.get("displayTimeUnit");
    if !unit.is_none_or(|unit| unit == "ms" || unit == "ns") {
        return Err(format!("a unit of {unit:?}"));
    }
    let events = trace["traceEvents"].as_array().ok_or("no events")?;
    let mut rows: HashMap<u64, Vec<&Value>> = HashMap::new();
    let (mut processes, mut names) = (HashSet::new(), HashSet::new());
    for event in events {
        let (pid, tid) = common(event)?;
        let name = event["name"].as_str().unwrap_or_default();
        match event["ph"].as_str() {
            Some("X") => {
                for time in ["ts", "dur"] {
                    if event[time].as_f64().is_none_or(|time| !time.is_finite() || time < 0.0) {
                        return Err(format!("its {time} is no time: {event}"));
                    }
                }
                rows.entry(tid).or_default().push(event);
            }
            Some("M") => {
                let (_, argument) =
                    METADATA.iter().find(|(known, _)| *known == name).ok_or(format!("unknown metadata: {event}"))?;
                let value = &event["args"][argument];
                if !(if *argument == "sort_index" { value.is_i64() } else { value.is_string() }) {
                    return Err(format!("metadata without its argument: {event}"));
                }
                let is_new = match name {
                    "process_name" => processes.insert(pid),
                    "thread_name" => names.insert((pid, tid)),
                    _ => true,
                };
                if !is_new {
                    return Err(format!("named twice: {event}"));
                }
            }
            other => return Err(format!("an event of kind {other:?}")),
        }
    }
    for (tid, slices) in &mut rows {
        slices.sort_by(|a, b| begin(a).total_cmp(&begin(b)).then(end(b).total_cmp(&end(a))));
        let pid = slices[0]["pid"].as_u64().unwrap_or_default();
        if !processes.contains(&pid) || !names.contains(&(pid, *tid)) {
            return Err(format!("row {tid} of {pid} has no name"));
        }
        is_nested(slices)?;
    }
    Ok(rows)
}

/// What all events have: returns the ids of process and row.
fn common(event: &Value) -> Result<(u64, u64), String> {
    let fields = event.as_object().ok_or(format!("no event: {event}"))?;
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!("an unknown field {unknown}: {event}"));
    }
    if event["name"].as_str().is_none_or(str::is_empty) {
        return Err(format!("without a name: {event}"));
    }
    if fields.get("cat").is_some_and(|cat| cat.as_str().is_none_or(str::is_empty)) {
        return Err(format!("its categories are no text: {event}"));
    }
    if fields.get("args").is_some_and(|args| !args.is_object()) {
        return Err(format!("its arguments have no names: {event}"));
    }
    event["pid"].as_u64().zip(event["tid"].as_u64()).ok_or(format!("of no process or thread: {event}"))
}

fn begin(slice: &Value) -> f64 {
    slice["ts"].as_f64().unwrap_or_default()
}

fn end(slice: &Value) -> f64 {
    begin(slice) + slice["dur"].as_f64().unwrap_or_default()
}

/// Whether slices, in the order of their begin, lie side by side or inside each other; to the nanosecond.
fn is_nested(slices: &[&Value]) -> Result<(), String> {
    let mut around: Vec<&Value> = Vec::new();
    for slice in slices {
        while around.last().is_some_and(|outer| end(outer) <= begin(slice) + 1e-3) {
            around.pop();
        }
        if around.last().is_some_and(|outer| end(outer) + 1e-3 < end(slice)) {
            return Err(format!("two at a time in a row: {slice} and {:?}", around.last()));
        }
        around.push(slice);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trace(events: Vec<Value>) -> Value {
        let mut all = vec![
            json!({"ph": "M", "name": "process_name", "pid": 1, "tid": 1, "args": {"name": "p"}}),
            json!({"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "t"}}),
        ];
        all.extend(events);
        json!({"traceEvents": all, "displayTimeUnit": "ms"})
    }

    fn slice(ts: f64, dur: f64) -> Value {
        json!({"ph": "X", "cat": "task", "name": "f", "pid": 1, "tid": 2, "ts": ts, "dur": dur, "args": {}})
    }

    #[test]
    fn slices_may_follow_and_contain_each_other() {
        let trace = trace(vec![slice(20.0, 5.0), slice(0.0, 10.0), slice(0.0, 4.0), slice(4.0, 6.0)]);
        let rows = validated(&trace).unwrap();
        let begins: Vec<f64> = rows[&2].iter().map(|slice| begin(slice)).collect();
        assert_eq!(begins, [0.0, 0.0, 4.0, 20.0]);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        let changed = |key: &str, value: Value| {
            let mut slice = slice(0.0, 1.0);
            slice[key] = value;
            slice
        };
        let wrong = [
            vec![slice(0.0, 10.0), slice(5.0, 10.0)],
            vec![changed("tid", json!(3))],
            vec![changed("pid", json!("1"))],
            vec![changed("ts", json!(-1))],
            vec![changed("dur", json!("1"))],
            vec![changed("name", json!(""))],
            vec![changed("args", json!([]))],
            vec![changed("ph", json!("Q"))],
            vec![changed("duration", json!(1))],
            vec![json!({"ph": "M", "name": "process_name", "pid": 1, "tid": 1, "args": {"name": "again"}})],
            vec![json!({"ph": "M", "name": "thread_name", "pid": 1, "tid": 5, "args": {}})],
            vec![json!(7)],
        ];
        for events in wrong {
            let trace = trace(events);
            assert!(validated(&trace).is_err(), "{trace:#}");
        }
        assert!(validated(&json!({"traceEvents": 1})).is_err() && validated(&json!([])).is_err());
        assert!(validated(&json!({"traceEvents": [], "displayTimeUnit": "s"})).is_err());
    }
}
