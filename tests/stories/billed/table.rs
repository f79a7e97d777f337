//! The table of `deploy/runbooks/billing.md`.

use super::Went;

/// A kind of call, and what is counted of one.
pub(super) struct Line {
    pub(super) call: String,
    pub(super) requests: u64,
    pub(super) billed: u64,
    pub(super) bytes_in: Bytes,
    pub(super) bytes_out: Bytes,
}

/// How much of a request, or of an answer, is counted.
#[derive(Clone, Copy)]
pub(super) enum Bytes {
    None,
    Head,
    All,
    SoFar,
}

impl Bytes {
    fn read(cell: &str) -> Self {
        match cell {
            "none" => Self::None,
            "head" => Self::Head,
            "all" => Self::All,
            "so far" => Self::SoFar,
            _ => panic!("{cell:?} is no measure of bytes"),
        }
    }

    /// What the ledger must have; or how the call that was made is no such one.
    pub(super) fn of(self, went: Went) -> Result<u64, String> {
        let Went { head, bytes, whole } = went;
        let fits = match self {
            Self::None => return Ok(0),
            Self::Head => return Ok(head),
            Self::All => bytes > 0 && bytes == whole,
            Self::SoFar => bytes > 0 && bytes < whole,
        };
        fits.then_some(head + bytes).ok_or_else(|| format!("{bytes} bytes of {whole} went"))
    }
}

/// # Panics
/// Where a line is not as the others.
pub(super) fn read(page: &str) -> Vec<Line> {
    let rows = page.lines().skip_while(|line| !line.starts_with("| call |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let ["", call, requests, billed, bytes_in, bytes_out, _why, ""] = cells[..] else {
                panic!("{row}");
            };
            Line {
                call: call.to_owned(),
                requests: requests.parse().unwrap(),
                billed: ["no", "yes"].iter().position(|it| *it == billed).unwrap() as u64,
                bytes_in: Bytes::read(bytes_in),
                bytes_out: Bytes::read(bytes_out),
            }
        })
        .collect()
}
