//! Base64 whose every buffer is zeroised.

use crate::{Secret, VaultError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Appends the base64 of `bytes`. The target must have the capacity (see
/// [`encoded_len`]), or growing it would leave a copy behind.
pub(crate) fn push_base64(bytes: &[u8], into: &mut Zeroizing<Vec<u8>>) -> Result<(), VaultError> {
    let start = into.len();
    into.resize(start + encoded_len(bytes.len()), 0);
    let written = STANDARD
        .encode_slice(bytes, &mut into[start..])
        .map_err(|_| VaultError::Internal("base64 did not fit".into()))?;
    into.truncate(start + written);
    Ok(())
}

/// How long the base64 of so many bytes is, padding included.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Back from base64.
pub(crate) fn from_base64(text: &str) -> Result<Secret, VaultError> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let written = STANDARD
        .decode_slice(text, &mut bytes)
        .map_err(|_| VaultError::Damaged("an item is not base64".into()))?;
    bytes.truncate(written);
    Ok(Secret::from_zeroizing(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_back_as_it_went_and_never_grows_its_buffer() {
        for len in 0..100_u8 {
            let bytes: Vec<u8> = (0..len).collect();
            let mut text = Zeroizing::new(Vec::with_capacity(encoded_len(bytes.len())));
            let before = text.capacity();
            push_base64(&bytes, &mut text).unwrap();
            assert_eq!(text.capacity(), before);
            assert_eq!(
                from_base64(std::str::from_utf8(&text).unwrap())
                    .unwrap()
                    .expose(),
                bytes
            );
        }
        assert!(from_base64("not base64!").is_err());
    }
}
