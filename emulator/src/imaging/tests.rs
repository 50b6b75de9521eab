use std::io::Cursor;

use image::{
    AnimationDecoder as _, Delay, DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::gif::{GifDecoder, GifEncoder},
};

use super::*;

/// 200 × 100 pixels, the left half red, the right half blue.
fn picture() -> DynamicImage {
    let color = |x, _| match x < 100 {
        true => Rgb([255, 0, 0]),
        false => Rgb([0, 0, 255]),
    };
    RgbImage::from_fn(200, 100, color).into()
}

fn file(image: &DynamicImage, format: ImageFormat) -> Bytes {
    let mut file = Vec::new();
    image.write_to(&mut Cursor::new(&mut file), format).unwrap();
    file.into()
}

fn jpeg_file(quality: u8) -> Bytes {
    let output = Output {
        format: Format::Jpeg,
        quality,
    };
    codec::encode(&picture(), &output).unwrap()
}

fn decoded(file: &[u8]) -> DynamicImage {
    image::load_from_memory(file).unwrap()
}

async fn image_of(source: Bytes, steps: &str) -> DynamicImage {
    let processed = process(source, steps).await;
    decoded(
        &processed
            .map_err(|error| error.message().to_owned())
            .unwrap()
            .content,
    )
}

async fn error(source: Bytes, steps: &str) -> (&'static str, Option<&'static str>) {
    let error = process(source, steps).await.err().unwrap();
    assert_eq!(error.status(), 400);
    (error.code(), error.ec())
}

#[tokio::test]
async fn images_are_resized_and_keep_their_format() {
    for (format, kind) in [
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Png, "image/png"),
        (ImageFormat::WebP, "image/webp"),
        (ImageFormat::Gif, "image/gif"),
    ] {
        let source = file(&picture(), format);
        let steps = "image/resize,m_fixed,w_50,h_60";
        let processed = process(source, steps)
            .await
            .unwrap_or_else(|_| panic!("{kind}"));
        assert_eq!(processed.content_type, kind);
        assert_eq!(image::guess_format(&processed.content).unwrap(), format);
        let image = decoded(&processed.content).to_rgb8();
        assert_eq!(image.dimensions(), (50, 60), "{kind}");
        // Left is red, right is blue, up to the losses of a format.
        let (left, right) = (image.get_pixel(5, 30).0, image.get_pixel(45, 30).0);
        assert!(left[0] > 200 && left[2] < 60, "{kind} {left:?}");
        assert!(right[2] > 200 && right[0] < 60, "{kind} {right:?}");
    }
}

#[tokio::test]
async fn actions_run_in_order() {
    let source = file(&picture(), ImageFormat::Png);
    let image = image_of(source.clone(), "image/crop,w_100,h_100,g_se/resize,w_10").await;
    assert_eq!((image.width(), image.height()), (10, 10));
    assert_eq!(image.to_rgb8().get_pixel(0, 0).0, [0, 0, 255]);
    let image = image_of(source, "image/resize,w_100/crop,x_10,y_20,w_30,r_1").await;
    assert_eq!((image.width(), image.height()), (30, 30));
    assert_eq!(image.to_rgb8().get_pixel(0, 0).0, [255, 0, 0]);
}

#[tokio::test]
async fn padding_has_a_color() {
    let source = file(&picture(), ImageFormat::Png);
    let steps = "image/resize,m_pad,w_100,h_100,color_00FF00";
    let image = image_of(source.clone(), steps).await.to_rgb8();
    assert_eq!(image.dimensions(), (100, 100));
    assert_eq!(image.get_pixel(50, 5).0, [0, 255, 0]);
    assert_eq!(image.get_pixel(5, 50).0, [255, 0, 0]);
    let image = image_of(source, "image/resize,m_pad,w_100,h_100")
        .await
        .to_rgb8();
    assert_eq!(image.get_pixel(50, 5).0, [255, 255, 255]);
}

#[tokio::test]
async fn formats_are_converted() {
    let clear = RgbaImage::from_pixel(20, 20, Rgba([0, 0, 0, 0]));
    let source = file(&clear.into(), ImageFormat::Png);
    for (name, format) in [
        ("jpg", ImageFormat::Jpeg),
        ("png", ImageFormat::Png),
        ("webp", ImageFormat::WebP),
        // Only a GIF becomes a GIF.
        ("gif", ImageFormat::Png),
    ] {
        let processed = process(source.clone(), &format!("image/format,{name}")).await;
        let content = processed.ok().unwrap().content;
        assert_eq!(image::guess_format(&content).unwrap(), format, "{name}");
    }
    // Transparent pixels of a JPEG are white.
    let image = image_of(source, "image/format,jpg").await.to_rgb8();
    assert!(image.get_pixel(5, 5).0.iter().all(|c| *c > 250));
}

#[tokio::test]
async fn qualities_are_relative_or_absolute() {
    for quality in [30, 60, 80, 95] {
        let found = jpeg::quality(&jpeg_file(quality)).unwrap();
        assert!(found.abs_diff(quality) <= 1, "{quality} {found}");
    }
    for (source, steps, expected) in [
        (80, "image/quality,q_50", 40),
        (80, "image/quality,Q_50", 50),
        (80, "image/quality,Q_95", 80),
        (80, "image/quality,q_10,Q_50", 50),
        (80, "image/resize,w_100", 80),
    ] {
        let processed = process(jpeg_file(source), steps).await.ok().unwrap();
        let found = jpeg::quality(&processed.content).unwrap();
        assert!(found.abs_diff(expected) <= 1, "{steps} {found}");
    }
    assert_eq!(jpeg::quality(b"\xff\xd8\xff\xdb"), None);
    assert_eq!(jpeg::quality(b"no jpeg"), None);
    assert_eq!(jpeg::quality(b"\xff\xd8\xff\xe0\x00\x01"), None);
}

/// `ImageProcessTest` of aliyun-oss-java-sdk, and `TestGetObjectWithProcess` of
/// alibabacloud-oss-go-sdk-v2.
#[tokio::test]
async fn images_are_rotated_clockwise() {
    let source = file(&picture(), ImageFormat::Png);
    // The first pixel, which is red at the left and blue at the right of the source.
    for (angle, size, is_red) in [
        (0, (200, 100), true),
        (90, (100, 200), true),
        (180, (200, 100), false),
        (270, (100, 200), false),
        (360, (200, 100), true),
    ] {
        let image = image_of(source.clone(), &format!("image/rotate,{angle}")).await;
        assert_eq!((image.width(), image.height()), size, "{angle}");
        let first = image.to_rgb8().get_pixel(0, 0).0;
        assert_eq!(first == [255, 0, 0], is_red, "{angle}");
    }
    let steps = "image/resize,m_fixed,w_100,h_50/rotate,90/crop,w_10";
    let image = image_of(source, steps).await;
    assert_eq!((image.width(), image.height()), (10, 100));
}

#[tokio::test]
async fn information_about_an_image() {
    let source = jpeg_file(75);
    let size = source.len();
    let info = process(source.clone(), "image/info").await.ok().unwrap();
    assert_eq!(info.content_type, "application/json");
    let info: serde_json::Value = serde_json::from_slice(&info.content).unwrap();
    let expected = serde_json::json!({
        "FileSize": { "value": size.to_string() },
        "Format": { "value": "jpg" },
        "ImageHeight": { "value": "100" },
        "ImageWidth": { "value": "200" },
    });
    assert_eq!(info, expected);
    let info = process(source, "image/resize,w_100/format,png/info").await;
    let info: serde_json::Value = serde_json::from_slice(&info.ok().unwrap().content).unwrap();
    assert_eq!(info["Format"]["value"], "png");
    assert_eq!(info["ImageWidth"]["value"], "100");
}

#[tokio::test]
async fn every_frame_of_an_animation_is_resized() {
    let mut source = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut source);
        for shade in [0, 100, 200] {
            let frame = RgbaImage::from_pixel(40, 20, Rgba([shade, shade, shade, 255]));
            let delay = Delay::from_numer_denom_ms(70, 1);
            let frame = Frame::from_parts(frame, 0, 0, delay);
            encoder.encode_frame(frame).unwrap();
        }
    }
    let frames = |content: &[u8]| {
        let decoder = GifDecoder::new(Cursor::new(content)).unwrap();
        decoder.into_frames().collect_frames().unwrap()
    };
    let source = Bytes::from(source);
    let processed = process(source.clone(), "image/resize,w_10").await;
    let found = frames(&processed.ok().unwrap().content);
    assert_eq!(found.len(), 3);
    for frame in &found {
        assert_eq!(frame.buffer().dimensions(), (10, 5));
        assert_eq!(frame.delay().numer_denom_ms().0, 70);
    }
    // In proportion, an animation becomes its first frame.
    let processed = process(source, "image/resize,p_50").await;
    assert_eq!(frames(&processed.ok().unwrap().content).len(), 1);
}

#[tokio::test]
async fn what_is_invalid_is_refused() {
    let source = file(&picture(), ImageFormat::Png);
    for (steps, code, ec) in [
        ("image/resize,w_0,h_0", "InvalidArgument", "0040-00000321"),
        ("image/resize", "InvalidArgument", "0040-00000321"),
        ("image/resize,w_abc", "InvalidArgument", "0040-00000321"),
        ("image/resize,w_+1", "InvalidArgument", "0040-00000321"),
        (
            "image/resize,m_other,w_1",
            "InvalidArgument",
            "0040-00000321",
        ),
        (
            "image/resize,w_1,color_12",
            "InvalidArgument",
            "0040-00000321",
        ),
        (
            "image/resize,m_fixed,limit_0,w_9000,h_9000",
            "ImageTooLarge",
            "0040-00000007",
        ),
        ("image/crop,x_200", "BadRequest", ""),
        ("image/crop,w_abc", "InvalidArgument", "0040-00000225"),
        ("image/crop,h_-1", "InvalidArgument", "0040-00000226"),
        ("image/crop,g_fac", "InvalidArgument", "0040-00000209"),
        ("image/format", "InvalidArgument", "0040-00000207"),
        ("image/format,bmp", "NotImplemented", ""),
        ("image/quality,q_0", "InvalidArgument", ""),
        ("image/quality", "InvalidArgument", ""),
        ("image/rotate,45", "NotImplemented", ""),
        ("image/rotate", "InvalidArgument", ""),
        ("image/rotate,361", "InvalidArgument", ""),
        ("image/rotate,-90", "InvalidArgument", ""),
        ("image/sharpen,100", "NotImplemented", ""),
        ("image/", "InvalidArgument", "0040-00000213"),
        ("image/nothing", "InvalidArgument", "0040-00000213"),
        ("video/snapshot,t_1", "NotImplemented", ""),
        ("style/small", "NotImplemented", ""),
    ] {
        let expected = (code, Some(ec).filter(|ec| !ec.is_empty()));
        assert_eq!(error(source.clone(), steps).await, expected, "{steps}");
    }
    let many = format!("image{}", "/resize,w_1".repeat(30));
    assert_eq!(error(source.clone(), &many).await.0, "InvalidArgument");
    for not_an_image in [&b""[..], b"text", &source[..40]] {
        let not_an_image = Bytes::copy_from_slice(not_an_image);
        let found = error(not_an_image, "image/resize,w_1").await;
        assert_eq!(found, ("BadRequest", Some("0040-00000005")));
    }
    // Half a file.
    let found = error(source.slice(..source.len() / 2), "image/resize,w_1").await;
    assert_eq!(found.0, "BadRequest");
}

/// A PNG whose head announces this size, and whose content is missing.
fn announced(width: u32, height: u32) -> Bytes {
    let mut head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    head.extend([8, 6, 0, 0, 0]);
    let mut crc = !0_u32;
    for byte in &head[12..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    head.extend((!crc).to_be_bytes());
    head.extend(b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e");
    head.into()
}

/// A few bytes must not allocate gigabytes.
#[tokio::test]
async fn announced_sizes_are_checked_before_anything_is_decoded() {
    for (width, height, code, ec) in [
        (30_001, 1, "BadRequest", Some("0040-00000005")),
        (1, 30_001, "BadRequest", Some("0040-00000005")),
        (25_000, 25_000, "ImageTooLarge", Some("0040-00000012")),
        (10_000, 10_000, "NotImplemented", None),
    ] {
        let source = announced(width, height);
        let found = error(source, "image/resize,w_1").await;
        assert_eq!(found, (code, ec), "{width} {height}");
    }
}
