//! `#[derive(ShmSafe)]`, `#[derive(Plain)]` and `#[derive(Element)]`, for types in shared memory. All are re-exported by `sync`.
#![deny(unsafe_code)]

mod code;
mod item;

use code::{Code, parsed};
use item::{Error, Field, Item, Shape};
use proc_macro::{Span, TokenStream, TokenTree};

/// Implements `sync::ShmSafe` for a `#[repr(C)]` struct whose fields are all `ShmSafe`.
///
/// `#[shm(crate = path)]` says where `ShmSafe` is, if not in `::sync`: for who has renamed the dependency, or has it
/// through another crate.
#[proc_macro_derive(ShmSafe, attributes(shm))]
pub fn derive_shm_safe(input: TokenStream) -> TokenStream {
    expand(input, |item| {
        let fields = item.fields("only a struct can be `ShmSafe`: other types have bit patterns that mean nothing")?;
        if !item.is_repr_c {
            let message = "a shared struct must be #[repr(C)], so that all its users agree on its layout";
            return Err(Error::new(message, item.span()));
        }
        let all = |call: &dyn Fn(&str) -> String| fields.iter().map(|field| call(&field.name)).collect::<String>();
        let pinned = all(&|field| format!("|| __shm::ShmSafe::is_pinned(&self.{field})"));
        let note = all(&|field| format!("__shm::ShmSafe::note_other_namespaces(&self.{field});"));
        let methods =
            format!("fn is_pinned(&self) -> bool {{ false {pinned} }} fn note_other_namespaces(&self) {{ {note} }}");
        Ok(item.inside(without_drop(item) + &marker(item, "ShmSafe", fields, &methods)))
    })
}

/// Implements `sync::Plain` for a struct whose fields are all `Plain`, and `sync::Element`, stored as it is.
///
/// `#[shm(crate = path)]` says where these are, if not in `::sync`.
#[proc_macro_derive(Plain, attributes(shm))]
pub fn derive_plain(input: TokenStream) -> TokenStream {
    expand(input, |item| {
        let message = "only a struct can be `Plain`: other types have bit patterns that mean nothing \
                       (an enum without fields can be an `Element`)";
        let fields = item.fields(message)?;
        let methods = "fn store(self) -> Self { self }
            fn load(stored: Self) -> ::core::result::Result<Self, __shm::InvalidElement> {
                ::core::result::Result::Ok(stored)
            }
            fn load_array<const N: usize>(stored: [Self; N])
                -> ::core::result::Result<[Self; N], __shm::InvalidElement>
            {
                ::core::result::Result::Ok(stored)
            }";
        let element = Code::new().text(&format!(
            "#[automatically_derived]
            impl __shm::Element for {} {{ type Stored = Self; {methods} }}",
            item.name
        ));
        Ok(item.inside(without_drop(item) + &marker(item, "Plain", fields, "") + &element))
    })
}

/// Implements `sync::Element` for an enum whose variants have no fields, stored as the variant's number, counted from
/// 0, or for a struct whose fields are all elements.
///
/// `#[shm(crate = path)]` says where `Element` is, if not in `::sync`.
#[proc_macro_derive(Element, attributes(shm))]
pub fn derive_element(input: TokenStream) -> TokenStream {
    expand(input, |item| {
        let code = match &item.shape {
            Shape::Struct(fields) => struct_element(item, fields),
            Shape::Enum(variants) => enum_element(item, variants)?,
            Shape::Union => return Err(Error::new("only structs and enums can be elements", item.span())),
        };
        Ok(item.inside(code))
    })
}

fn expand(input: TokenStream, derive: impl FnOnce(&Item) -> Result<TokenStream, Error>) -> TokenStream {
    Item::parse(input).and_then(|item| derive(&item)).unwrap_or_else(|error| error.into_tokens())
}

fn without_drop(item: &Item) -> Code {
    Code::new().text(&format!(
        "const _: () = ::core::assert!(
            !::core::mem::needs_drop::<{}>(),
            \"nobody would drop it in shared memory\"
        );",
        item.name
    ))
}

/// An `unsafe` marker trait, which all fields must have.
fn marker(item: &Item, of: &str, fields: &[Field], methods: &str) -> Code {
    let name = &item.name;
    let code = Code::new().text(&format!(
        "#[automatically_derived]
        #[allow(unsafe_code)]
        // SAFETY: every field is, and the assertion excludes a `Drop` of its own.
        unsafe impl __shm::{of} for {name} where"
    ));
    bounds(code, of, fields).braces(Code::new().text(methods))
}

fn bounds(code: Code, of: &str, fields: &[Field]) -> Code {
    fields.iter().fold(code, |code, field| {
        let at = field.kind.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span());
        code.tokens(&field.kind).text_at(&format!(": __shm::{of},"), at)
    })
}

/// A struct is stored as pairs of what its fields are stored as: `(first, (second, ()))`.
fn struct_element(item: &Item, fields: &[Field]) -> Code {
    let mut stored = Code::new().text("type Stored = ");
    let mut kinds = parsed("()");
    for field in fields.iter().rev() {
        let inside = Code::new().text("<").tokens(&field.kind).text("as __shm::Element>::Stored,").tokens(&kinds);
        kinds = [TokenTree::Group(proc_macro::Group::new(proc_macro::Delimiter::Parenthesis, inside.0))]
            .into_iter()
            .collect();
    }
    stored = stored.tokens(&kinds).text(";");
    let nested = |make: &dyn Fn(usize) -> String| {
        (0..fields.len()).rev().fold(String::from("()"), |rest, i| format!("({}, {rest})", make(i)))
    };
    let all = |make: &dyn Fn(usize, &str) -> String| {
        fields.iter().enumerate().map(|(i, field)| make(i, &field.name)).collect::<String>()
    };
    let code = Code::new().text(&format!(
        "#[automatically_derived]
        impl __shm::Element for {} where",
        item.name
    ));
    bounds(code, "Element", fields).braces(stored.text(&format!(
        "fn store(self) -> Self::Stored {{
            let Self {{ {} }} = self;
            {}
        }}
        fn load(stored: Self::Stored) -> ::core::result::Result<Self, __shm::InvalidElement> {{
            let {} = stored;
            ::core::result::Result::Ok(Self {{ {} }})
        }}",
        all(&|i, name| format!("{name}: field_{i},")),
        // What a body is without one: a unit in words would be a lint's.
        if fields.is_empty() { String::new() } else { nested(&|i| format!("__shm::Element::store(field_{i})")) },
        nested(&|i| format!("field_{i}")),
        all(&|i, name| format!("{name}: __shm::Element::load(field_{i})?,")),
    )))
}

fn enum_element(item: &Item, variants: &[String]) -> Result<Code, Error> {
    let stored = match variants.len() {
        0 => return Err(Error::new("an enum without variants has no values", item.span())),
        1..=256 => "u8",
        257..=65536 => "u16",
        _ => "u32",
    };
    let all = |make: &dyn Fn(usize, &str) -> String| {
        variants.iter().enumerate().map(|(i, name)| make(i, name)).collect::<String>()
    };
    Ok(Code::new().text(&format!(
        "#[automatically_derived]
        impl __shm::Element for {} {{
            type Stored = {stored};
            fn store(self) -> {stored} {{
                match self {{ {} }}
            }}
            fn load(stored: {stored}) -> ::core::result::Result<Self, __shm::InvalidElement> {{
                ::core::result::Result::Ok(match stored {{
                    {}
                    #[allow(unreachable_patterns)]
                    _ => return ::core::result::Result::Err(__shm::InvalidElement::of::<Self>()),
                }})
            }}
        }}",
        item.name,
        all(&|i, name| format!("Self::{name} => {i},")),
        all(&|i, name| format!("{i} => Self::{name},")),
    )))
}
