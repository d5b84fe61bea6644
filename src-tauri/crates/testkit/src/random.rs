//! Random bytes and credentials for tests: none is ever written down.

/// This many random bytes.
///
/// # Panics
/// When the system has no randomness.
#[must_use]
#[allow(clippy::expect_used)] // a test without randomness cannot go on
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// `2 * N` random hexadecimal digits.
#[must_use]
pub fn hex<const N: usize>() -> String {
    bytes::<N>().iter().map(|b| format!("{b:02x}")).collect()
}

/// A credential that no other test has: long enough that finding it anywhere
/// is no accident.
#[must_use]
pub fn credential() -> String {
    format!("test-{}", hex::<24>())
}

/// `N` random letters and digits, which no format has to escape: a mark to look
/// for in whatever programs write.
#[must_use]
pub fn mark<const N: usize>() -> String {
    const FROM: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789Zz";
    let letter = |byte: u8| char::from(FROM[usize::from(byte % 64)]);
    bytes::<N>().into_iter().map(letter).collect()
}
