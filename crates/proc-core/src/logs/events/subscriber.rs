//! The child's side: a subscriber that writes events into the ring.

use std::fmt;

use tracing_core::{
    Dispatch, Event, Field, Interest, Metadata, Subscriber, dispatcher,
    field::Visit,
    metadata::LevelFilter,
    span::{Attributes, Current, Id, Record},
};

use super::{
    super::{
        draft::{Draft, EVENT, Head},
        sink,
        value::{FieldValue, put_display},
    },
    level_number, spans,
};

/// The field that names the spans around an event.
const SPANS: &str = "spans";
const MESSAGE: &str = "message";

#[derive(Debug)]
struct EventForwarder {
    level: LevelFilter,
}

/// Makes it the default subscriber of this process; false if there is another one.
pub(in crate::logs) fn install(level: LevelFilter) -> bool {
    dispatcher::set_global_default(Dispatch::new(EventForwarder { level })).is_ok() || is_ours()
}

/// Whether this process's default subscriber is the one of this file.
pub(in crate::logs) fn is_ours() -> bool {
    dispatcher::get_default(Dispatch::is::<EventForwarder>)
}

impl Subscriber for EventForwarder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        spans::open(attributes)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        spans::record(id, values);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        sink::write(|bytes| {
            let metadata = event.metadata();
            let head = Head {
                level: level_number(*metadata.level()),
                target: metadata.target(),
                module: metadata.module_path(),
                file: metadata.file(),
                line: metadata.line(),
            };
            let mut draft = Draft::new(bytes, EVENT, &head);
            event.record(&mut EventFields(&mut draft));
            let around = spans::around(event.parent(), event.is_contextual());
            if !around.is_empty() {
                EventFields(&mut draft).put(SPANS, |bytes, limit| FieldValue::Text(&around).put(bytes, limit));
            }
            let mut draft = Some(draft);
            event.record(&mut Message(&mut draft));
            if let Some(draft) = draft {
                draft.end(None);
            }
        });
    }

    fn enter(&self, id: &Id) {
        spans::enter(id);
    }

    fn exit(&self, id: &Id) {
        spans::exit(id);
    }

    fn clone_span(&self, id: &Id) -> Id {
        spans::keep(id);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        spans::give_up(&id)
    }

    fn current_span(&self) -> Current {
        spans::current_span()
    }
}

/// Adds all fields but the message, as long as there is room.
struct EventFields<'a, 'b>(&'a mut Draft<'b>);

impl EventFields<'_, '_> {
    fn put(&mut self, key: &str, put: impl FnOnce(&mut Vec<u8>, usize) -> usize) {
        let _ = self.0.field(key, |bytes, limit| {
            put(bytes, limit);
            Ok::<(), fmt::Error>(())
        });
    }

    fn put_value(&mut self, field: &Field, value: FieldValue<'_>) {
        if field.name() != MESSAGE {
            self.put(field.name(), |bytes, limit| value.put(bytes, limit));
        }
    }
}

impl Visit for EventFields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != MESSAGE {
            self.put(field.name(), |bytes, limit| put_display(bytes, limit, format_args!("{value:?}")));
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put_value(field, FieldValue::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_value(field, FieldValue::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_value(field, FieldValue::Unsigned(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_value(field, FieldValue::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_value(field, FieldValue::Text(value));
    }
}

/// Ends the draft with the message, if there is one.
struct Message<'a, 'b>(&'a mut Option<Draft<'b>>);

impl Visit for Message<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE
            && let Some(draft) = self.0.take()
        {
            draft.end(Some(format_args!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE
            && let Some(draft) = self.0.take()
        {
            draft.end(Some(format_args!("{value}")));
        }
    }
}
