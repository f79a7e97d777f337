use std::io::Write;

use flate2::{
    Compression, GzBuilder,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};

use super::{chain::unpack, *};

const MANY: u64 = 64 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(bytes).unwrap();
    out
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Text that does not repeat itself much.
fn text(bytes: usize) -> Vec<u8> {
    let line = |at: usize| format!("{{\"id\":{at},\"name\":\"Pet {}\"}},\n", at * 7919 % 1000);
    (0..).flat_map(|at| line(at).into_bytes()).take(bytes).collect()
}

/// Of every coding: how it is named, and how bytes become of it.
type Pack = fn(&[u8]) -> Vec<u8>;
const ALL: [(Coding, Pack); 5] = [
    (Coding::Gzip, gzip),
    (Coding::Deflate, zlib),
    (Coding::Deflate, bare),
    (Coding::Brotli, brotli),
    (Coding::Zstd, zstd),
];

fn unpacked(coding: Coding, bytes: &[u8], piece: usize) -> (Vec<u8>, Option<Fault>) {
    unpack([coding].into_iter(), bytes, piece, MANY)
}

#[test]
fn a_body_is_the_same_in_every_coding_and_in_pieces_of_any_size() {
    for (coding, pack) in ALL {
        for plain in [&b""[..], b"x", b"hello, hello", &text(200_000)] {
            let packed = pack(plain);
            for piece in [1, 2, 7, 1000, 8192, 1 << 20] {
                let (found, fault) = unpacked(coding, &packed, piece);
                assert_eq!(fault, None, "{coding:?}, {} bytes by {piece}", plain.len());
                assert!(found == plain, "{coding:?}, {} bytes by {piece}", plain.len());
            }
        }
    }
}

#[test]
fn a_body_without_a_byte_is_whole() {
    for (coding, _) in ALL {
        assert_eq!(unpacked(coding, b"", 1), (Vec::new(), None), "{coding:?}");
    }
}

#[test]
fn what_ends_before_its_time_is_malformed_wherever_it_ends() {
    let plain = text(3000);
    for (coding, pack) in ALL {
        let packed = pack(&plain);
        for end in 1..packed.len() {
            let (found, fault) = unpacked(coding, &packed[..end], 1000);
            assert_eq!(fault, Some(Fault::Malformed), "{coding:?}, {end} of {}", packed.len());
            assert!(plain.starts_with(&found));
        }
    }
}

#[test]
fn what_follows_the_end_is_malformed() {
    for (coding, pack) in ALL {
        for piece in [1, 1 << 20] {
            let packed = [&pack(b"hello"), &b"garbage"[..]].concat();
            let (found, fault) = unpacked(coding, &packed, piece);
            assert_eq!((&found[..], fault), (&b"hello"[..], Some(Fault::Malformed)), "{coding:?}");
        }
    }
}

#[test]
fn a_changed_byte_is_found_by_the_check_at_the_end() {
    let mut packed = gzip(b"hello, world");
    let last = packed.len() - 1;
    packed[last - 5] ^= 1; // of the CRC
    assert_eq!(unpacked(Coding::Gzip, &packed, 100).1, Some(Fault::Malformed));
    packed[last - 5] ^= 1;
    packed[last] ^= 1; // of the length
    assert_eq!(unpacked(Coding::Gzip, &packed, 100).1, Some(Fault::Malformed));
    let mut packed = zlib(b"hello, world");
    let last = packed.len() - 1;
    packed[last] ^= 1;
    assert_eq!(unpacked(Coding::Deflate, &packed, 100).1, Some(Fault::Malformed));
}

#[test]
fn gzip_members_and_zstd_frames_follow_one_another() {
    let members = [gzip(b"one, "), gzip(b""), gzip(b"two")].concat();
    let skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc";
    let frames = [&zstd(b"one, "), &skippable[..], &zstd(b"two")].concat();
    for piece in [1, 1 << 20] {
        let expected = (b"one, two".to_vec(), None);
        assert_eq!(unpacked(Coding::Gzip, &members, piece), expected);
        assert_eq!(unpacked(Coding::Zstd, &frames, piece), expected);
    }
}

#[test]
fn a_gzip_head_may_have_all_that_the_rfc_has() {
    let mut encoder = GzBuilder::new()
        .extra(vec![7; 300])
        .filename("a name")
        .comment("a comment")
        .mtime(1)
        .write(Vec::new(), Compression::default());
    encoder.write_all(b"hello").unwrap();
    let packed = encoder.finish().unwrap();
    for piece in [1, 13, 1 << 20] {
        assert_eq!(unpacked(Coding::Gzip, &packed, piece), (b"hello".to_vec(), None));
    }
    // A check of the head: bit 1 of the flags, and the CRC's lower half before the data.
    let plain = gzip(b"hello");
    let mut head = plain[..10].to_vec();
    head[3] = 2;
    let mut check = flate2::Crc::new();
    check.update(&head);
    let checked = |sum: u32| {
        let low = u16::try_from(sum & 0xffff).unwrap().to_le_bytes();
        [&head[..], &low, &plain[10..]].concat()
    };
    assert_eq!(unpacked(Coding::Gzip, &checked(check.sum()), 100), (b"hello".to_vec(), None));
    assert_eq!(unpacked(Coding::Gzip, &checked(check.sum() ^ 1), 100).1, Some(Fault::Malformed));
    for (at, wrong) in [(0, 0x1e), (1, 0x8a), (2, 7), (3, 0x80)] {
        let mut packed = plain.clone();
        packed[at] = wrong;
        assert_eq!(unpacked(Coding::Gzip, &packed, 100), (Vec::new(), Some(Fault::Malformed)));
    }
}

#[test]
fn what_unpacks_to_far_more_than_came_of_it_is_a_bomb_and_stops_early() {
    let zeros = vec![0; 20 << 20];
    for (coding, pack) in ALL {
        let packed = pack(&zeros);
        assert!(packed.len() * 100 < zeros.len());
        let (found, fault) = unpacked(coding, &packed, 100);
        assert_eq!(fault, Some(Fault::Bomb), "{coding:?}");
        let most = (packed.len() * 100).max(1 << 20);
        assert!(found.len() <= most + (32 << 10), "{coding:?} gave {}", found.len());
        // Little of it is no harm, whatever it came as.
        let (found, fault) = unpacked(coding, &pack(&zeros[..1 << 20]), 100);
        assert_eq!((found.len(), fault), (1 << 20, None), "{coding:?}");
    }
}

#[test]
fn a_bomb_in_a_bomb_stops_at_the_inner_one() {
    let zeros = vec![0; 100 << 20];
    let packed = gzip(&gzip(&zeros));
    assert!(packed.len() < 1000, "{}", packed.len());
    let codings = [Coding::Gzip, Coding::Gzip];
    let (found, fault) = unpack(codings.into_iter(), &packed, 1000, MANY);
    assert_eq!(fault, Some(Fault::Bomb));
    assert!(found.len() <= (1 << 20));
}

#[test]
fn what_unpacks_to_more_than_its_api_takes_is_too_large() {
    let plain = text(100_000);
    for (coding, pack) in ALL {
        let bytes_max = plain.len() as u64;
        let whole = unpack([coding].into_iter(), &pack(&plain), 1000, bytes_max);
        assert!(whole == (plain.clone(), None), "{coding:?}");
        let (_, fault) = unpack([coding].into_iter(), &pack(&plain), 1000, bytes_max - 1);
        assert_eq!(fault, Some(Fault::TooLarge), "{coding:?}");
    }
}

#[test]
fn codings_are_undone_in_the_order_that_is_not_theirs() {
    let packed = zstd(&brotli(&gzip(b"hello, hello")));
    for piece in [1, 1000] {
        let codings = [Coding::Gzip, Coding::Brotli, Coding::Zstd];
        let found = unpack(codings.into_iter(), &packed, piece, MANY);
        assert_eq!(found, (b"hello, hello".to_vec(), None));
    }
}

#[test]
fn windows_above_what_http_allows_are_refused() {
    // A frame with a window of 16 MiB: RFC 9659 has 8.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&text(1000)).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(unpacked(Coding::Zstd, &packed, 1000).1, Some(Fault::Malformed));
    // A large window of brotli, which no coding of HTTP has.
    assert_eq!(unpacked(Coding::Brotli, &[0x11, 0x18, 0x03], 10).1, Some(Fault::Malformed));
}

#[test]
fn what_a_decoder_holds_grows_with_its_window() {
    let held = |coding, bytes: &[u8]| {
        let mut chain = Chain::new([coding].into_iter(), MANY);
        let before = chain.held_bytes();
        chain.feed(Bytes::copy_from_slice(bytes));
        while !matches!(chain.pull(), Ok((Pulled::Hungry, _)) | Err(_)) {}
        chain.held_bytes() - before
    };
    assert_eq!(held(Coding::Gzip, &gzip(b"hello")), 0);
    assert!(held(Coding::Brotli, &brotli(b"hello")) >= 1 << 16);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(23).unwrap();
    encoder.write_all(&text(1000)).unwrap();
    encoder.flush().unwrap();
    assert!(held(Coding::Zstd, encoder.get_ref()) >= 8 << 20);
}

fn named(fields: &[&'static str], undoes: &Undoes) -> Result<Vec<Coding>, GatewayResponse> {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(CONTENT_ENCODING, HeaderValue::from_static(field));
    }
    codings(&headers, undoes)
}

#[test]
fn the_codings_of_a_body_are_one_list_of_few_that_are_known() {
    use Coding::{Brotli, Deflate, Gzip, Zstd};
    for (fields, native, aws) in [
        (&["gzip"][..], Some(vec![Gzip]), Some(vec![Gzip])),
        (&["X-GZip"], Some(vec![Gzip]), Some(vec![Gzip])),
        (&["deflate, gzip"], Some(vec![Deflate, Gzip]), Some(vec![Deflate, Gzip])),
        (&["deflate", " ,gzip ,"], Some(vec![Deflate, Gzip]), Some(vec![Deflate, Gzip])),
        (&["identity"], Some(vec![]), Some(vec![])),
        (&[""], Some(vec![]), Some(vec![])),
        (&["identity, gzip"], Some(vec![Gzip]), Some(vec![Gzip])),
        (&["br"], Some(vec![Brotli]), None),
        (&["zstd"], Some(vec![Zstd]), None),
        (&["compress"], None, None),
        (&["gzip;q=1"], None, None),
        (&["gzip, gzip, gzip, gzip"], None, None),
        (&["identity, identity, identity, identity"], None, None),
    ] {
        assert_eq!(named(fields, &Undoes::NATIVE).ok(), native, "{fields:?}");
        assert_eq!(named(fields, &Undoes::AWS_REST).ok(), aws, "{fields:?}");
    }
    let refused = named(&["compress"], &Undoes::NATIVE).unwrap_err();
    assert_eq!(refused.kind, Kind::UnsupportedMediaType);
    assert_eq!(refused.headers[0].1, "zstd, br, gzip, deflate");
    assert!(named(&["br"], &Undoes::AWS_REST).unwrap_err().headers.is_empty());
}
