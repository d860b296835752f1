use super::names::{Names, struct_name};

#[test]
fn tables_become_structs() {
    let check = |table, expected| assert_eq!(struct_name(table), expected);
    check("auth_user_groups", "AuthUserGroups");
    check("2fa-tokens", "Table2faTokens");
    check("option", "OptionRow");
    check("Orders \"old\"", "OrdersOld");
}

#[test]
fn columns_become_fields_each_once() {
    let mut names = Names::fields();
    let mut check = |column, expected: &str| assert_eq!(names.take(column), expected);
    check("type", "r#type");
    check("self", "self_field");
    check("reverse", "reverse_field");
    check("Full Name", "full_name");
    check("full_name", "full_name_2");
    check("1st", "field_1st");
    check("_", "__field");
}
