//! The owner's side of an event: into the subscriber that it had when it started the child.

use std::borrow::Cow;

use tracing_core::{Dispatch, Event, Field, field::Value};

use super::{
    super::{
        draft::{Cut, Head, Parts},
        emit::{NAME, Origin, PID, TARGET, prefix},
        value::FieldValue,
    },
    callsites,
};

/// An event has no more fields, with those added here.
const MAX_FIELDS: usize = 32;
/// What an event's own fields leave room for: the message, and the child's name and pid.
const N_ADDED: usize = 3;

/// Gives an event to a subscriber.
pub(in crate::logs) fn emit(dispatch: &Dispatch, origin: &Origin, parts: &Parts<'_>) {
    let mut fields: Vec<(&str, FieldValue<'_>)> = Vec::new();
    let message: Cow<'_, str> = match (parts.message, prefix(origin, parts)) {
        (Some(message), prefix) if prefix.is_empty() && parts.n_cut == 0 => message.into(),
        (message, prefix) => format!("{prefix}{}{}", message.unwrap_or_default(), Cut(parts.n_cut)).into(),
    };
    if parts.message.is_some() {
        fields.push(("message", FieldValue::Text(&message)));
    }
    for (name, value) in parts.fields.iter().take(MAX_FIELDS - N_ADDED) {
        // A subscriber knows a field by its name.
        if !fields.iter().any(|(known, _)| known == name) {
            fields.push((name, *value));
        }
    }
    if parts.field(PID).is_none() && parts.field(NAME).is_none() {
        fields.push((NAME, FieldValue::Text(&origin.name)));
        fields.push((PID, FieldValue::Unsigned(origin.pid.into())));
    }
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let of_all = Head { target: TARGET, module: None, file: None, line: None, ..parts.head };
    let place = callsites::place(&parts.head, &names, false).or_else(|| {
        // No room for more places: one for all that come later, without fields of their own.
        fields.retain(|(name, _)| ["message", NAME, PID].contains(name));
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        callsites::place(&of_all, &names, true)
    });
    let Some(metadata) = place.and_then(callsites::RemoteCallsite::wanted) else { return };
    if !dispatch.enabled(metadata) {
        return;
    }
    let known: Vec<Field> = metadata.fields().iter().collect();
    let values: Vec<Box<dyn Value + '_>> = fields.iter().map(|(_, value)| boxed(*value)).collect();
    let Some(first) = known.first() else { return };
    // The length is part of the type; what is not there is no value.
    let mut pairs: [(&Field, Option<&dyn Value>); MAX_FIELDS] = [(first, None); MAX_FIELDS];
    for ((pair, field), value) in pairs.iter_mut().zip(&known).zip(&values) {
        *pair = (field, Some(&**value));
    }
    // In no span of this process's.
    dispatch.event(&Event::new_child_of(None, metadata, &metadata.fields().value_set(&pairs)));
}

fn boxed<'a>(value: FieldValue<'a>) -> Box<dyn Value + 'a> {
    match value {
        FieldValue::Text(text) => Box::new(text),
        FieldValue::Signed(number) => Box::new(number),
        FieldValue::Unsigned(number) => Box::new(number),
        FieldValue::Float(number) => Box::new(number),
        FieldValue::Bool(is_true) => Box::new(is_true),
    }
}
