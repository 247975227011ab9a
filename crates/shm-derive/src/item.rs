//! What a derive is written on, as far as these derives look at it.

use proc_macro::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};

use crate::code::Code;

/// What is wrong, and where.
pub(crate) struct Error {
    message: String,
    span: Span,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), span }
    }

    pub(crate) fn into_tokens(self) -> TokenStream {
        let call = format!("::core::compile_error! {{ {:?} }}", self.message);
        let call: TokenStream = call.parse().expect("a macro call with one literal");
        let at_span = |mut token: TokenTree| {
            token.set_span(self.span);
            token
        };
        call.into_iter().map(at_span).collect()
    }
}

pub(crate) struct Item {
    pub(crate) name: Ident,
    pub(crate) is_repr_c: bool,
    pub(crate) shape: Shape,
    /// Where the traits are.
    home: TokenStream,
}

pub(crate) enum Shape {
    Struct(Vec<Field>),
    /// The names of variants, of which none has fields.
    Enum(Vec<String>),
    Union,
}

pub(crate) struct Field {
    /// Or number.
    pub(crate) name: String,
    pub(crate) kind: TokenStream,
}

type Tokens = std::iter::Peekable<proc_macro::token_stream::IntoIter>;

impl Item {
    pub(crate) fn parse(input: TokenStream) -> Result<Self, Error> {
        let mut tokens = input.into_iter().peekable();
        let mut is_repr_c = false;
        let mut home = "::sync".parse().expect("a path");
        let keyword = loop {
            match tokens.next() {
                Some(TokenTree::Group(attribute)) if attribute.delimiter() == Delimiter::Bracket => {
                    let text: String = attribute.stream().to_string().split_whitespace().collect();
                    is_repr_c |= text.starts_with("repr(C)") || text.starts_with("repr(C,");
                    if let Some(path) = home_in(&attribute)? {
                        home = path;
                    }
                }
                Some(TokenTree::Ident(word)) if ["struct", "enum", "union"].contains(&word.to_string().as_str()) => {
                    break word.to_string();
                }
                Some(_) => {}
                None => return Err(Error::new("this is no type", Span::call_site())),
            }
        };
        let Some(TokenTree::Ident(name)) = tokens.next() else {
            return Err(Error::new("this has no name", Span::call_site()));
        };
        let shape = match (keyword.as_str(), tokens.next()) {
            ("union", _) => Shape::Union,
            ("struct", Some(TokenTree::Punct(end))) if end.as_char() == ';' => Shape::Struct(Vec::new()),
            ("struct", Some(TokenTree::Group(body))) => Shape::Struct(fields(&body)),
            ("enum", Some(TokenTree::Group(body))) => Shape::Enum(variants(body.stream())?),
            (_, token) => {
                let span = token.map_or(name.span(), |token| token.span());
                return Err(Error::new("a type with parameters: implement the trait by hand", span));
            }
        };
        Ok(Self { name, is_repr_c, shape, home })
    }

    pub(crate) fn span(&self) -> Span {
        self.name.span()
    }

    pub(crate) fn fields(&self, message: &str) -> Result<&[Field], Error> {
        match &self.shape {
            Shape::Struct(fields) => Ok(fields),
            _ => Err(Error::new(message, self.span())),
        }
    }

    /// The code in a scope of its own, where `__shm` is the crate with the traits.
    pub(crate) fn inside(&self, code: Code) -> TokenStream {
        let head = Code::new().text("#[allow(unused_imports)] use").tokens(&self.home).text("as __shm;");
        Code::new().text("const _: () =").braces(head + &code).text(";").0
    }
}

/// The path of `#[shm(crate = path)]`, or `"path"` as serde has it.
fn home_in(attribute: &Group) -> Result<Option<TokenStream>, Error> {
    let mut tokens = attribute.stream().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Ident(word)), Some(TokenTree::Group(inside))) if word.to_string() == "shm" => {
            let usage = || Error::new("expected `#[shm(crate = path)]`", inside.span());
            let mut inside_tokens = inside.stream().into_iter();
            let (key, equals) = (inside_tokens.next(), inside_tokens.next());
            let is_crate = matches!(key, Some(TokenTree::Ident(key)) if key.to_string() == "crate");
            if !is_crate || !matches!(equals, Some(TokenTree::Punct(equals)) if equals.as_char() == '=') {
                return Err(usage());
            }
            let path: TokenStream = inside_tokens.collect();
            let text = path.to_string();
            let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            let path = quoted.map_or(Ok(path), |path| path.parse().map_err(|_| usage()))?;
            if path.is_empty() { Err(usage()) } else { Ok(Some(path)) }
        }
        _ => Ok(None),
    }
}

fn variants(body: TokenStream) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut tokens = body.into_iter().peekable();
    loop {
        skip_attributes(&mut tokens);
        let Some(name) = tokens.next() else { return Ok(names) };
        match tokens.peek() {
            Some(TokenTree::Group(fields)) => {
                let message = "a variant with fields: only enums whose variants have none can be elements";
                return Err(Error::new(message, fields.span()));
            }
            _ => names.push(name.to_string()),
        }
        // A discriminant says nothing here.
        tokens.by_ref().find(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','));
    }
}

/// The fields between the braces (with names) or parentheses of a struct.
fn fields(body: &Group) -> Vec<Field> {
    let has_names = body.delimiter() == Delimiter::Brace;
    let mut fields = Vec::new();
    let mut tokens = body.stream().into_iter().peekable();
    loop {
        skip_attributes(&mut tokens);
        skip_visibility(&mut tokens);
        if tokens.peek().is_none() {
            return fields;
        }
        let mut name = fields.len().to_string();
        if has_names {
            name = tokens.next().map(|name| name.to_string()).unwrap_or_default();
            // The colon.
            tokens.next();
        }
        let mut kind = TokenStream::new();
        let (mut depth, mut after_minus) = (0, false);
        for token in tokens.by_ref() {
            let punct = match &token {
                TokenTree::Punct(punct) => Some((punct.as_char(), punct.spacing())),
                _ => None,
            };
            match punct {
                Some((',', _)) if depth == 0 => break,
                Some(('<', _)) => depth += 1,
                Some(('>', _)) if !after_minus => depth -= 1,
                _ => {}
            }
            after_minus = matches!(punct, Some(('-', Spacing::Joint)));
            kind.extend([token]);
        }
        fields.push(Field { name, kind });
    }
}

fn skip_attributes(tokens: &mut Tokens) {
    while matches!(tokens.peek(), Some(TokenTree::Punct(hash)) if hash.as_char() == '#') {
        tokens.next();
        tokens.next();
    }
}

fn skip_visibility(tokens: &mut Tokens) {
    if matches!(tokens.peek(), Some(TokenTree::Ident(word)) if word.to_string() == "pub") {
        tokens.next();
        if matches!(tokens.peek(), Some(TokenTree::Group(scope)) if scope.delimiter() == Delimiter::Parenthesis) {
            tokens.next();
        }
    }
}
