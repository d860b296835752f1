//! What must not compile, and what the compiler says then.

/// The expected words lie beside each case. After a wanted change of them run
/// `TRYBUILD=overwrite cargo test -p hulse-tests --test compile_fail`.
#[test]
fn mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("compile_fail/models/*.rs");
}
