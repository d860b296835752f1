//! Models of tables that were there before, written by `inspectdb`; yours to edit.
//!
//! Look at each: move it to its app, give it a name and `on_delete`, say which text may
//! be empty. Without `managed = false` migrations would make and change its table.

use hulse::models::{Decimal, ForeignKey, Id, JsonValue, Model, NaiveTime, OneToOne, Uuid};
use hulse::prelude::{DateTime, NaiveDate, Utc};

#[derive(Model, Debug, Clone)]
#[model(table = "auth_group", managed = false)]
pub struct AuthGroup {
    pub id: Id,
    #[field(max_length = 150, unique)]
    pub name: String,
}

#[derive(Model, Debug, Clone)]
#[model(table = "auth_group_permissions", managed = false, unique(group, permission))]
pub struct AuthGroupPermissions {
    pub id: Id,
    #[field(on_delete = do_nothing)]
    pub group: ForeignKey<AuthGroup>,
    #[field(on_delete = do_nothing)]
    pub permission: ForeignKey<AuthPermission>,
}

#[derive(Model, Debug, Clone)]
#[model(table = "auth_permission", managed = false)]
pub struct AuthPermission {
    pub id: Id,
    #[field(on_delete = do_nothing)]
    pub content_type: ForeignKey<DjangoContentType>,
    #[field(max_length = 100)]
    pub codename: String,
    #[field(max_length = 255)]
    pub name: String,
}

#[derive(Model, Debug, Clone)]
#[model(table = "auth_user", managed = false)]
pub struct AuthUser {
    pub id: Id,
    #[field(max_length = 128)]
    pub password: String,
    pub last_login: Option<DateTime<Utc>>,
    pub is_superuser: bool,
    #[field(max_length = 150, unique)]
    pub username: String,
    #[field(max_length = 150)]
    pub last_name: String,
    #[field(max_length = 254)]
    pub email: String,
    pub is_staff: bool,
    pub is_active: bool,
    pub date_joined: DateTime<Utc>,
    #[field(max_length = 150)]
    pub first_name: String,
}

#[derive(Model, Debug, Clone)]
#[model(table = "auth_user_groups", managed = false, unique(user, group))]
pub struct AuthUserGroups {
    pub id: Id,
    #[field(on_delete = do_nothing)]
    pub user: ForeignKey<AuthUser>,
    #[field(on_delete = do_nothing)]
    pub group: ForeignKey<AuthGroup>,
}

#[derive(Model, Debug, Clone)]
#[model(table = "auth_user_user_permissions", managed = false)]
pub struct AuthUserUserPermissions {
    pub id: Id,
    #[field(on_delete = do_nothing)]
    pub user: ForeignKey<AuthUser>,
    #[field(on_delete = do_nothing)]
    pub permission: ForeignKey<AuthPermission>,
}

#[derive(Model, Debug, Clone)]
#[model(table = "django_admin_log", managed = false)]
pub struct DjangoAdminLog {
    pub id: Id,
    #[field(text)]
    pub object_id: Option<String>,
    #[field(max_length = 200)]
    pub object_repr: String,
    pub action_flag: u16,
    #[field(text)]
    pub change_message: String,
    #[field(on_delete = do_nothing)]
    pub content_type: Option<ForeignKey<DjangoContentType>>,
    #[field(on_delete = do_nothing)]
    pub user: ForeignKey<AuthUser>,
    pub action_time: DateTime<Utc>,
}

#[derive(Model, Debug, Clone)]
#[model(table = "django_content_type", managed = false, unique(app_label, model))]
pub struct DjangoContentType {
    pub id: Id,
    #[field(max_length = 100)]
    pub app_label: String,
    #[field(max_length = 100)]
    pub model: String,
}

#[derive(Model, Debug, Clone)]
#[model(table = "django_migrations", managed = false)]
pub struct DjangoMigrations {
    pub id: Id,
    #[field(max_length = 255)]
    pub app: String,
    #[field(max_length = 255)]
    pub name: String,
    pub applied: DateTime<Utc>,
}

#[derive(Model, Debug, Clone)]
#[model(table = "django_session", managed = false)]
pub struct DjangoSession {
    #[field(primary_key, max_length = 40)]
    pub session_key: String,
    #[field(text)]
    pub session_data: String,
    pub expire_date: DateTime<Utc>,
}

// No model for the table option: it has no primary key. Its columns:
//   words: text

#[derive(Model, Debug, Clone)]
#[model(table = "shop_product", managed = false)]
pub struct ShopProduct {
    #[field(primary_key)]
    pub id: Uuid,
    #[field(max_length = 20)]
    pub r#type: String,
    #[field(column = "self")]
    pub self_field: i64,
    #[field(max_length = 80, column = "Full Name")]
    pub full_name: Option<String>,
    #[field(text, column = "full_name")]
    pub full_name_2: String,
    // The column does not say how many digits it has: these are a guess.
    #[field(max_digits = 15, decimal_places = 5)]
    pub price: Decimal,
    #[field(max_digits = 8, decimal_places = 3)]
    pub weight: Option<Decimal>,
    pub tags: JsonValue,
    pub stock: u32,
    pub ratio: f64,
    pub photo: Option<Vec<u8>>,
    pub opens: Option<NaiveTime>,
    pub since: NaiveDate,
    #[field(on_delete = do_nothing)]
    pub parent: Option<ForeignKey<ShopProduct>>,
    // where: no field has the type point.
    #[field(column = "reverse")]
    pub reverse_field: bool,
}

#[derive(Model, Debug, Clone)]
#[model(table = "shop_profile", managed = false)]
pub struct ShopProfile {
    #[field(primary_key, on_delete = do_nothing)]
    pub user: OneToOne<AuthUser>,
    #[field(on_delete = do_nothing)]
    pub favourite: Option<OneToOne<ShopProduct>>,
}

// The primary key is of several columns, (shelf, product_id), and a model's is of one: shelf alone
// may name several rows. Read with it, write elsewhere.
#[derive(Model, Debug, Clone)]
#[model(table = "shop_stock", managed = false)]
pub struct ShopStock {
    #[field(primary_key)]
    pub shelf: i64,
    #[field(on_delete = do_nothing)]
    pub product: ForeignKey<ShopProduct>,
    pub count: i64,
}
