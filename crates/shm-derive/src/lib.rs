//! `#[derive(ShmSafe)]` and `#[derive(Plain)]`, for structs in shared memory. Both are re-exported by `sync`.
#![deny(unsafe_code)]

use proc_macro::{Delimiter, Spacing, TokenStream, TokenTree};

/// Implements `sync::ShmSafe` for a `#[repr(C)]` struct whose fields are all `ShmSafe`.
#[proc_macro_derive(ShmSafe)]
pub fn derive_shm_safe(input: TokenStream) -> TokenStream {
    let shm_safe = |item: &Struct| {
        if !item.is_repr_c {
            return Err("a shared struct must be #[repr(C)], so that all its users agree on its layout".into());
        }
        let all = |call: &dyn Fn(&str) -> String| item.fields.iter().map(|(field, _)| call(field)).collect::<String>();
        let pinned = all(&|field| format!("|| ::sync::ShmSafe::is_pinned(&self.{field})"));
        let note = all(&|field| format!("::sync::ShmSafe::note_other_namespaces(&self.{field});"));
        let methods =
            format!("fn is_pinned(&self) -> bool {{ false {pinned} }} fn note_other_namespaces(&self) {{ {note} }}");
        Ok(item.implement("ShmSafe", &methods))
    };
    Struct::parse(input).and_then(|item| shm_safe(&item)).unwrap_or_else(|message| error(&message))
}

/// Implements `sync::Plain` for a struct whose fields are all `Plain`.
#[proc_macro_derive(Plain)]
pub fn derive_plain(input: TokenStream) -> TokenStream {
    Struct::parse(input).map_or_else(|message| error(&message), |item| item.implement("Plain", ""))
}

struct Struct {
    name: String,
    is_repr_c: bool,
    /// Name (or number) and type of each.
    fields: Vec<(String, String)>,
}

impl Struct {
    fn parse(input: TokenStream) -> Result<Self, String> {
        let mut tokens = input.into_iter();
        let mut is_repr_c = false;
        loop {
            match tokens.next() {
                Some(TokenTree::Group(attribute)) if attribute.delimiter() == Delimiter::Bracket => {
                    let text: String = attribute.stream().to_string().split_whitespace().collect();
                    is_repr_c |= text.starts_with("repr(C)") || text.starts_with("repr(C,");
                }
                Some(TokenTree::Ident(word)) if word.to_string() == "struct" => break,
                Some(TokenTree::Ident(word)) if ["enum", "union"].contains(&word.to_string().as_str()) => {
                    return Err("only structs can be derived: other types have bit patterns that mean nothing".into());
                }
                Some(_) => {}
                None => return Err("this is not a struct".into()),
            }
        }
        let name = tokens.next().map(|name| name.to_string()).unwrap_or_default();
        match tokens.next() {
            Some(TokenTree::Group(body)) => {
                let has_names = body.delimiter() == Delimiter::Brace;
                Ok(Self { name, is_repr_c, fields: fields(body.stream(), has_names) })
            }
            Some(TokenTree::Punct(end)) if end.as_char() == ';' => Ok(Self { name, is_repr_c, fields: Vec::new() }),
            _ => Err("structs with parameters cannot be derived; implement the trait by hand".into()),
        }
    }

    fn implement(&self, of: &str, body: &str) -> TokenStream {
        let name = &self.name;
        let bounds: String = self.fields.iter().map(|(_, kind)| format!("{kind}: ::sync::{of},")).collect();
        let code = format!(
            "const _: () = {{
                #[allow(unsafe_code)]
                // SAFETY: every field is, and the assertion below excludes a `Drop` of its own.
                unsafe impl ::sync::{of} for {name} where {bounds} {{ {body} }}
                assert!(!::core::mem::needs_drop::<{name}>(), \"nobody would drop it in shared memory\");
            }};"
        );
        code.parse().expect("the pieces came from a parser")
    }
}

/// The fields between the braces (with names) or parentheses of a struct.
fn fields(body: TokenStream, has_names: bool) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut tokens = body.into_iter().peekable();
    while tokens.peek().is_some() {
        let mut name = fields.len().to_string();
        let mut kind = TokenStream::new();
        let (mut depth, mut in_type, mut after_minus) = (0, !has_names, false);
        for token in tokens.by_ref() {
            let punct = match &token {
                TokenTree::Punct(punct) => Some((punct.as_char(), punct.spacing())),
                _ => None,
            };
            match punct {
                Some((',', _)) if depth == 0 => break,
                Some((':', Spacing::Alone)) if !in_type => {
                    in_type = true;
                    continue;
                }
                Some(('<', _)) => depth += 1,
                Some(('>', _)) if !after_minus => depth -= 1,
                _ => {}
            }
            after_minus = matches!(punct, Some(('-', Spacing::Joint)));
            if in_type {
                kind.extend([token]);
            } else if let TokenTree::Ident(word) = token {
                // The last word in front of the colon; before it, there may be `pub`.
                name = word.to_string();
            }
        }
        fields.push((name, without_attributes_and_visibility(kind)));
    }
    fields
}

/// Fields without names have these in front of the type.
fn without_attributes_and_visibility(kind: TokenStream) -> String {
    let mut rest = kind.into_iter().peekable();
    loop {
        match rest.peek() {
            Some(TokenTree::Punct(hash)) if hash.as_char() == '#' => {
                rest.next();
                rest.next();
            }
            Some(TokenTree::Ident(word)) if word.to_string() == "pub" => {
                rest.next();
                if matches!(rest.peek(), Some(TokenTree::Group(scope)) if scope.delimiter() == Delimiter::Parenthesis) {
                    rest.next();
                }
            }
            _ => return rest.collect::<TokenStream>().to_string(),
        }
    }
}

fn error(message: &str) -> TokenStream {
    format!("::core::compile_error!({message:?});").parse().expect("a macro call with one literal")
}
