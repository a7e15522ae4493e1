//! One block of a tar header: fields, numbers and the checksum. Source: POSIX.1-2017 `pax`, "ustar Interchange
//! Format"; GNU tar's manual, "Basic Tar Format".

/// The unit of a tar archive.
pub(crate) const BLOCK_BYTES: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Folder,
    Pipe,
    /// A character or block device.
    Device,
    /// A regular file with holes, in GNU's old form.
    Sparse,
    /// GNU: the next entry's path.
    LongPath,
    /// GNU: the next entry's link target.
    LongLink,
    /// Extended headers of the next entry.
    Extended,
    /// Extended headers of all that follows.
    Global,
    Other(u8),
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            b'0' | 0 | b'7' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' | b'4' => Self::Device,
            b'5' => Self::Folder,
            b'6' => Self::Pipe,
            b'S' => Self::Sparse,
            b'L' => Self::LongPath,
            b'K' => Self::LongLink,
            b'x' | b'X' => Self::Extended,
            b'g' => Self::Global,
            other => Self::Other(other),
        }
    }
}

/// Offsets and lengths in a file.
pub(crate) type Pieces = Vec<(u64, u64)>;

/// A block read as a header.
pub(crate) struct Header<'a>(pub(crate) &'a [u8; BLOCK_BYTES]);

impl Header<'_> {
    /// Says whether the checksum is right; old programs summed signed bytes.
    pub(crate) fn is_sound(&self) -> bool {
        let Some(written) = number(&self.0[148..156]) else {
            return false;
        };
        let bytes = || {
            let field = 148..156;
            self.0
                .iter()
                .enumerate()
                .map(move |(at, byte)| if field.contains(&at) { b' ' } else { *byte })
        };
        let unsigned: u64 = bytes().map(u64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        written == unsigned || i64::try_from(written) == Ok(signed)
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of(self.0[156])
    }

    /// Returns the path: prefix and name in the POSIX form, the name alone in the others.
    pub(crate) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = text(&self.0[345..500]);
        if &self.0[257..263] == b"ustar\0" && !prefix.is_empty() {
            return [prefix, b"/", name].concat();
        }
        name.to_vec()
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(crate) fn mode(&self) -> Option<u32> {
        number(&self.0[100..108]).and_then(|mode| u32::try_from(mode & 0o7777).ok())
    }

    /// Returns the numbers of the owner and its group; one that cannot be read, or is none, is the highest.
    pub(crate) fn owner(&self) -> (u32, u32) {
        let read = |field| {
            number(field)
                .and_then(|id| u32::try_from(id).ok())
                .unwrap_or(u32::MAX)
        };
        (read(&self.0[108..116]), read(&self.0[116..124]))
    }

    pub(crate) fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    /// Returns seconds since 1970, or zero where the field cannot be read: a date decides nothing.
    pub(crate) fn modified(&self) -> i64 {
        number(&self.0[136..148])
            .and_then(|seconds| i64::try_from(seconds).ok())
            .unwrap_or(0)
    }

    /// Returns the pieces of a sparse file in this header, whether more follow, and the whole size.
    pub(crate) fn sparse(&self) -> Option<(Pieces, bool, u64)> {
        let pieces = pieces(&self.0[386..482])?;
        Some((pieces, self.0[482] != 0, number(&self.0[483..495])?))
    }
}

/// Returns the pieces of a block that continues a sparse file's map, and whether another follows.
pub(crate) fn sparse_more(block: &[u8; BLOCK_BYTES]) -> Option<(Vec<(u64, u64)>, bool)> {
    Some((pieces(&block[..504])?, block[504] != 0))
}

fn pieces(bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let used = bytes.chunks_exact(24).take_while(|piece| piece[0] != 0);
    used.map(|piece| Some((number(&piece[..12])?, number(&piece[12..])?)))
        .collect()
}

/// Returns the bytes before the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// Reads an octal number, or GNU's binary one; empty is zero. `None` for a negative or unreadable one.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        let (high, low) = field.split_at(field.len() - 8);
        if field.len() > 8 && high[1..].iter().any(|byte| *byte != 0) {
            return None;
        }
        let low: [u8; 8] = low.try_into().ok()?;
        let value = u64::from_be_bytes(low);
        return Some(if field.len() == 8 {
            value & (u64::MAX >> 8)
        } else {
            value
        });
    }
    let trimmed = text(field).trim_ascii();
    if trimmed.is_empty() {
        return Some(0);
    }
    let digits = std::str::from_utf8(trimmed).ok()?;
    // `from_str_radix` takes a sign, a header does not.
    digits
        .bytes()
        .all(|digit| matches!(digit, b'0'..=b'7'))
        .then(|| u64::from_str_radix(digits, 8).ok())?
}

/// Writes an octal number that ends with NUL, or GNU's binary form if it is too long for that.
pub(crate) fn put_number(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let octal = format!("{value:0width$o}");
    if octal.len() <= width {
        field[..width].copy_from_slice(octal.as_bytes());
        field[width] = 0;
        return;
    }
    field.fill(0);
    field[0] = 0x80;
    let at = field.len() - 8;
    for (to, from) in field[at..].iter_mut().zip(value.to_be_bytes()) {
        *to |= from;
    }
}
