//! What the pool tells of itself to `tracing`, if the feature of that name is on.

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $($name:ident = $value:expr,)* $message:literal) => {
        { $(let _ = &$value;)* }
    };
}

#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $($name:ident = $value:expr,)* $message:literal) => {
        tracing::$level!(target: "pool", $($name = $value,)* $message)
    };
}

pub(super) use event;
