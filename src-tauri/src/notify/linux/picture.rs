//! The icon that stands beside a notification's text.

use zbus::zvariant::{Type, Value};

/// The picture in the form that the service wants.
#[derive(Debug, Clone, Type, Value)]
pub(super) struct Picture {
    width: i32,
    height: i32,
    row: i32,
    alpha: bool,
    bits: i32,
    channels: i32,
    data: Vec<u8>,
}

/// The product's icon.
pub(super) fn icon() -> Option<Picture> {
    let image =
        tauri::image::Image::from_bytes(include_bytes!("../../../../icons/64x64.png")).ok()?;
    let (width, height) = (
        i32::try_from(image.width()).ok()?,
        i32::try_from(image.height()).ok()?,
    );
    Some(Picture {
        width,
        height,
        row: width * 4,
        alpha: true,
        bits: 8,
        channels: 4,
        data: image.rgba().to_vec(),
    })
}
