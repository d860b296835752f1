//! `context!`: the values a template sees.

/// The values a template sees: `context! { post, title: "News" }`. A bare name takes the variable
/// of that name; every value is serialized.
///
/// ```
/// use hulse::context;
/// let post = "first";
/// let context = context! { post, count: 1 + 1 };
/// assert_eq!(context.get("count").and_then(|count| count.as_i64()), Some(2));
/// ```
#[macro_export]
macro_rules! context {
    () => { $crate::template::Context::new() };
    ($($name:ident $(: $value:expr)?),+ $(,)?) => {{
        let mut context = $crate::template::Context::new();
        $( $crate::context!(@insert context, $name $(, $value)?); )+
        context
    }};
    (@insert $context:ident, $name:ident) => {
        $context.insert(stringify!($name), &$name)
    };
    (@insert $context:ident, $name:ident, $value:expr) => {
        $context.insert(stringify!($name), &$value)
    };
}
