//! Nothing but the features in its manifest, which any other package of the same build has then.
