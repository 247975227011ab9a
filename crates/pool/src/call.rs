//! What a thread pool runs: any function or closure, with its arguments as a tuple.

/// A function or closure that takes `Args`, a tuple of 0 to 8 arguments, once.
pub trait CallOnce<Args> {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call_once(self, args: Args) -> Self::Output;
}

/// A function or closure that takes `Args`, a tuple of 1 to 8 arguments, any number of times.
pub trait Call<Args> {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(&self, args: Args) -> Self::Output;
}

macro_rules! impl_call {
    ($($arg:ident),*) => {
        impl<F, R, $($arg),*> CallOnce<($($arg,)*)> for F
        where
            F: FnOnce($($arg),*) -> R,
        {
            type Output = R;

            #[allow(non_snake_case)]
            fn call_once(self, ($($arg,)*): ($($arg,)*)) -> R {
                self($($arg),*)
            }
        }

        impl<F, R, $($arg),*> Call<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> R,
        {
            type Output = R;

            #[allow(non_snake_case)]
            fn call(&self, ($($arg,)*): ($($arg,)*)) -> R {
                self($($arg),*)
            }
        }
    };
}
impl_call!();
impl_call!(A0);
impl_call!(A0, A1);
impl_call!(A0, A1, A2);
impl_call!(A0, A1, A2, A3);
impl_call!(A0, A1, A2, A3, A4);
impl_call!(A0, A1, A2, A3, A4, A5);
impl_call!(A0, A1, A2, A3, A4, A5, A6);
impl_call!(A0, A1, A2, A3, A4, A5, A6, A7);
