//! What a derive writes.

use proc_macro::{Span, TokenStream, TokenTree};

/// Rust text, with pieces of the user's own in it, which the compiler's messages will point at.
pub(crate) struct Code(pub(crate) TokenStream);

impl Code {
    pub(crate) fn new() -> Self {
        Self(TokenStream::new())
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.extend(parsed(text));
        self
    }

    /// As [`text`](Self::text), so that messages about it point at `place`.
    pub(crate) fn text_at(mut self, text: &str, place: Span) -> Self {
        self.0.extend(parsed(text).into_iter().map(|mut token| {
            token.set_span(Span::call_site().located_at(place));
            token
        }));
        self
    }

    pub(crate) fn tokens(mut self, tokens: &TokenStream) -> Self {
        self.0.extend(tokens.clone());
        self
    }

    /// What `inside` makes, in braces.
    pub(crate) fn braces(mut self, inside: Self) -> Self {
        self.0.extend([TokenTree::Group(proc_macro::Group::new(proc_macro::Delimiter::Brace, inside.0))]);
        self
    }
}

impl std::ops::Add<&Self> for Code {
    type Output = Self;

    fn add(self, other: &Self) -> Self {
        self.tokens(&other.0)
    }
}

pub(crate) fn parsed(text: &str) -> TokenStream {
    text.parse().expect("the pieces came from a parser")
}
