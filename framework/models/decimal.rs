//! Decimals as their field wants them.

use rust_decimal::Decimal;

/// `decimal` with as many places as its field has, rounded half to even as Django does.
///
/// # Errors
/// Too many digits stand before the point: says so.
pub(super) fn rounded(
    decimal: Decimal,
    (digits, places): (u32, u32),
) -> std::result::Result<Decimal, String> {
    let mut rounded = decimal.round_dp(places);
    let whole = rounded.trunc().mantissa().unsigned_abs();
    let before = if whole == 0 { 0 } else { whole.ilog10() + 1 };
    let most = digits - places;
    if before > most {
        return Err(format!("is {decimal}, with {before} digits before the point: {most} fit"));
    }
    // Both databases give it back so.
    rounded.rescale(places);
    Ok(rounded)
}
