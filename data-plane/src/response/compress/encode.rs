//! The codings, at levels at which no piece of [`super::body::PIECE_BYTES_MAX`] takes a core for 500 µs.

use std::io::{self, Write};

use brotli::{CompressorWriter, enc::BrotliEncoderParams};
use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use super::Coding;

/// Past this, deflate takes twice the time for one part in twenty of the size.
const DEFLATE_LEVEL: u32 = 4;
/// The last one that works by blocks of 16 KiB; those of the next have 64 KiB, and take longer than a piece may.
const BROTLI_QUALITY: i32 = 3;
/// 64 KiB: as far back as deflate's twice.
const BROTLI_WINDOW_LOG: i32 = 16;
const ZSTD_LEVEL: i32 = 3;
/// 64 KiB, and so are its blocks.
const ZSTD_WINDOW_LOG: u32 = 16;

/// What of a body was compressed, and waits to be taken.
pub(super) enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

/// What an encoder counts as, of what those of a thread and of a tenant may hold; above the windows, hash tables and
/// blocks that it has at these settings.
pub(super) fn bytes_max(coding: Coding) -> usize {
    match coding {
        Coding::Zstd => 1 << 20,
        Coding::Brotli => 3 << 20,
        Coding::Gzip | Coding::Deflate => 512 << 10,
    }
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        let out = Vec::new();
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                Self::Zstd(encoder)
            }
            Coding::Brotli => {
                let params = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: BROTLI_WINDOW_LOG,
                    ..BrotliEncoderParams::default()
                };
                Self::Brotli(Box::new(CompressorWriter::with_params(out, 4096, &params)))
            }
            Coding::Gzip => Self::Gzip(GzEncoder::new(out, Compression::new(DEFLATE_LEVEL))),
            Coding::Deflate => {
                Self::Deflate(ZlibEncoder::new(out, Compression::new(DEFLATE_LEVEL)))
            }
        })
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.writer().write_all(piece)
    }

    /// Brings out all that was written, so that the other side can read it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }

    /// What came out since the last time.
    pub(super) fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Deflate(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    /// The rest of what comes out.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        let out = match self {
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Deflate(encoder) => encoder.finish()?,
        };
        Ok(out.into())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Zstd(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
            Self::Deflate(encoder) => encoder,
        }
    }
}
